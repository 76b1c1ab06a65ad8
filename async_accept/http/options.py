"""What a view says about accepting: attributes with a default each, and methods to override."""

from collections.abc import Mapping
from typing import Any

from django.db import models
from rest_framework.request import Request

from ..encoding import with_keys
from . import generic

__all__ = ["AcceptOptions", "accepting_handlers"]


class AcceptOptions:
    """Attributes and hooks of a view that accepts. An attribute that is None takes the setting of that name."""

    #: The task (a ``JobTask``) that does the work; None: the worker runs the view's own handler.
    accept_task: Any = None
    #: A stable name of what is asked for, such as ``orders.create``; None: made of the view's name and the action.
    accept_operation: str | None = None
    #: ``"always"``, ``"prefer"`` (202 only if the client asks with ``Prefer: respond-async``), ``"never"``, or a method
    #: that takes the request and returns one of these.
    accept_mode: Any = None
    #: Commit the view's work and the job's result in one transaction.
    accept_atomic: bool = True
    #: Whether the view's work may be repeated if its worker was lost; None: yes if it is atomic.
    accept_retry_when_lost: bool | None = None
    #: The queue of the view's jobs; None: as the task or ``task_routes`` say.
    accept_queue: str | None = None
    #: The priority of the view's jobs in their queue, from 0 to 255; None: as the task says.
    accept_priority: int | None = None
    #: How many seconds the work may take until its process is killed; None: as the task, or Celery's settings, say.
    accept_time_limit: float | None = None
    #: How many seconds the work may take until it gets a ``SoftTimeLimitExceeded``; None: as above.
    accept_soft_time_limit: float | None = None
    #: Seconds that a client should wait between polls; None: more, the older the job is.
    accept_retry_after: int | None = None
    #: ``"required"``, ``"optional"`` or ``"ignored"``: the request's ``Idempotency-Key``.
    accept_idempotency: str | None = None
    #: A method that takes the request and the validated data and returns a key, of which one job may be active at a
    #: time, or None for no such rule.
    accept_active_key: Any = None
    #: What a second request gets while a job with the same active key is active: ``"join"`` (that job) or
    #: ``"refuse"`` (409).
    accept_when_active: str = "join"
    #: How many jobs of this operation may be active; more are answered 429.
    accept_max_active: int | None = None
    #: How many jobs of one owner may be active; more are answered 429.
    accept_max_active_per_owner: int | None = None
    #: ``"accept"`` or ``"refuse"`` (503, and nothing is stored).
    accept_when_broker_down: str | None = None
    #: The largest body in bytes; more is answered 413 before it is read.
    accept_max_bytes: int | None = None

    #: The names of headers that are kept for the worker, beside those of the setting, such as ``("X-Tenant",)``.
    accept_headers: Any = None
    #: Two functions in place of ``get_accept_context`` and ``restore_accept_context``, for a function view:
    #: ``@accepts(context=(keep, restore))``.
    accept_context: Any = None
    #: Whether a request may name URLs that are told of the end of its job (``async_accept.webhooks``).
    accept_callbacks: bool = False

    def get_accept_object(self) -> Any:
        """Return the object that the request is about, for its 404 and its permissions now; None if there is none.

        PUT, PATCH and DELETE of a generic view look up theirs, a creation has none, and for everything else the lookup
        of the route decides. Override it if the route names something else, or something that need not exist yet.
        """
        return generic.object_of(self)

    def validate_accept(self, request: Request, instance: Any = None) -> Any:
        """Return the validated input; the request's data if the view has no serializer.

        Args:
            instance: the object that PUT or PATCH changes.

        It does not run in the worker, which gets ``request.data`` as an override has left it.

        Raises:
            ValidationError: the input is not valid (400); no job is stored.
        """
        return generic.validate(self, request, instance)

    def get_accept_input(self, request: Request, validated: Any) -> Any:
        """Return the keyword arguments of ``accept_task`` as a dict; a replay has no use for it.

        By default the validated data: model instances become their primary keys, a list becomes ``items``. The task
        gets each value as it is here: a Decimal, a date or a UUID stays one.
        """
        kept = {} if validated is None else validated
        return with_keys(dict(kept.items()) if isinstance(kept, Mapping) else {"items": kept})

    def get_accept_etag(self, instance: models.Model) -> str | None:
        """Return the entity tag of *instance*, quoted; None if the view has none.

        ``If-Match`` is compared with it at accept and again in the worker (412).
        """
        return None

    def get_accept_context(self, request: Request) -> Any:
        """Return what the view needs of its request in the worker, as values that can be kept; None for nothing.

        What middleware and authentication have put on the request, such as the tenant or ``request.auth``, is not there
        in the worker, and to read it there fails the job. It is stored with the job, so return no secret.
        """
        return None

    def restore_accept_context(self, request: Request, context: Any) -> Any:
        """Put *context*, which ``get_accept_context()`` has returned, back before anything of the view runs.

        Set attributes of the request, or context variables: these end with the attempt. If it returns a context
        manager, that is entered now and left when the attempt is over.
        """


def accepting_handlers(view: type) -> set[str]:
    """Return the names of the handlers of *view* that its mixins let accept."""
    return {name for base in view.__mro__ for name in vars(base).get("_handlers", ())}
