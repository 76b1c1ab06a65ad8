"""The steps of accepting a request, one method each: deciding, making the input, storing, building the 202.

Nothing is stored before every check has passed, and after the insert nothing can fail the request any more.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import Error, models
from django.http import Http404
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.parsers import FileUploadParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.formatting import camelcase_to_spaces
from rest_framework.views import set_rollback

from .. import encoding
from ..conf import conf
from ..db.errors import is_outage
from ..encoding import is_deep, plain
from ..exceptions import InputTooLarge, Unavailable, Unencodable
from ..jobs import keys, publish, replay, uploads
from ..jobs.accept import Terms, admit, first_of
from ..models import Job, new_id
from . import generic, prefer
from .conditional import check_if_match
from .generic import VERBS
from .metadata import add_terms
from .negotiation import with_panel
from .renderers import adopt_form_key
from .responses import VARY, promised

__all__ = ["Accepting"]


class Accepting:
    """Base of the accept mixins. Attributes of the view; ``None`` takes the setting."""

    #: The task (a ``JobTask``) that does the work; None lets the worker run the view's own logic.
    accept_task: Any = None
    #: A stable name of what is asked for, such as ``orders.create``; None derives it from the view.
    accept_operation: str | None = None
    #: ``"always"``, ``"prefer"`` (202 only when asked with ``Prefer: respond-async``), ``"never"``, or a method that
    #: takes the request and returns one of them, so that what can be answered at once is.
    accept_mode: Any = None
    #: Commit the view's work and the job's outcome in one transaction.
    accept_atomic: bool = True
    #: Whether the view's work may be repeated when its worker was lost; None: yes where it is atomic.
    accept_retry_when_lost: bool | None = None
    #: Seconds a client should wait between polls; None grows with the job's age.
    accept_retry_after: int | None = None
    #: ``"required"``, ``"optional"`` or ``"ignored"``: the request's ``Idempotency-Key``.
    accept_idempotency: str | None = None
    #: A method that takes the request and the validated data, and returns a key of which one job may be active
    #: at a time; None for no such rule.
    accept_active_key: Any = None
    #: What a second request gets while a job with the same key is active: ``"join"`` (that job) or ``"refuse"`` (409).
    accept_when_active: str = "join"
    #: Caps on open jobs; more is answered 429.
    accept_max_active: int | None = None
    accept_max_active_per_owner: int | None = None
    #: ``"accept"`` or ``"refuse"`` (503, and nothing is left behind).
    accept_when_broker_down: str | None = None
    #: The largest body in bytes; more is answered 413 before it is read.
    accept_max_bytes: int | None = None

    # --- Deciding ---------------------------------------------------------------------------------------

    def should_accept(self, request: Request) -> bool:
        """Whether this request is accepted for later; otherwise the view answers at once."""
        if replay.job_of(request) is not None:
            return False
        mode = self.accept_mode or conf.ACCEPT_MODE
        if callable(mode):
            mode = mode(request)
        if mode == "prefer":
            return self.get_preferences(request).respond_async
        if mode in ("always", "never"):
            return bool(mode == "always")
        raise ImproperlyConfigured(
            f"{type(self).__name__}.accept_mode is {mode!r}; it can be 'always', 'prefer', 'never' or a method."
        )

    def get_preferences(self, request: Request) -> prefer.Preferences:
        """Return what the client prefers (``Prefer``, RFC 7240)."""
        return prefer.parse(request.META.get("HTTP_PREFER"))

    def check_body(self, request: Request) -> None:
        """Refuse a body above the limit before it is read, and one that is nested too deeply to be stored.

        Raises:
            InputTooLarge: the body is above the limit (413).
            ParseError: it is nested too deeply (400).
        """
        if self._is_too_long(request):
            raise InputTooLarge
        try:
            deep = is_deep(request.data)
        except RecursionError:
            deep = True
        if deep:
            raise ParseError(f"The request is nested more than {encoding.DEPTH} levels deep.")

    def _is_too_long(self, request: Request) -> bool:
        length = str(request.META.get("CONTENT_LENGTH") or "0")
        negotiator: Any = request.negotiator
        parser = negotiator.select_parser(request, request.parsers)
        is_upload = isinstance(parser, MultiPartParser | FileUploadParser)
        limit = _given(self.accept_max_bytes, conf.MAX_UPLOAD_BYTES if is_upload else conf.MAX_INPUT_BYTES)
        return limit is not None and length.isdecimal() and int(length[:20]) > limit

    def check_if_match(self, request: Request) -> None:
        """Evaluate ``If-Match`` where the view knows entity tags; at accept, and again in the worker.

        Raises:
            PreconditionFailed: it names another version (412).
        """
        header = request.META.get("HTTP_IF_MATCH")
        if header is not None and (tag := self.get_etag(self.get_object())) is not None:  # type: ignore[attr-defined]
            check_if_match(header, tag)

    def get_etag(self, instance: models.Model) -> str | None:
        """Return the entity tag of *instance*, quoted; None where the view has none."""
        return None

    def decide(
        self, request: Request, prepare: Callable[[], Any], answer: Callable[[], Any] | None = None
    ) -> Any:
        """Accept *request*, or answer it at once; one that repeats another gets the first answer again.

        Where a request would be refused for what the first one has done, such as a name that is taken now or an object
        that is gone, and where the work would be done here a second time, an earlier job is looked up by the key. In
        all other cases the insert finds it, without a look.

        Args:
            prepare: checks what a job needs, and returns the validated input and the object. If it returns a response,
                that is the answer.
            answer: does the work now, always where the method changes nothing (``GET``); None where *prepare* decides
                about that.

        Raises:
            IdempotencyKeyMissing, IdempotencyKeyInvalid: before anything is done (400).
            IdempotencyKeyReused: the key came with another payload before (422).
        """
        if answer is not None and (request.method not in VERBS or replay.job_of(request) is not None):
            return answer()
        self.get_idempotency_key(request)
        if answer is not None and not self.should_accept(request):
            return self.get_first_answer(request) or answer()
        self.check_body(request)
        try:
            prepared = prepare()
        except (APIException, Http404, PermissionDenied):
            first = self.get_first_answer(request)
            if first is None:
                raise
            set_rollback()  # as REST framework does for what was raised
            return first
        if isinstance(prepared, HttpResponseBase):
            return self.get_first_answer(request) or prepared
        validated, instance = prepared
        return self.accept(request, validated, instance=instance)

    def get_first_answer(self, request: Request) -> Response | None:
        """Return the answer to the first request with this one's key, again; None where that key is free.

        Raises:
            IdempotencyKeyReused: it came with another payload (422).
        """
        key = self.get_idempotency_key(request)
        if key is None or self._is_too_long(request):
            return None
        try:
            owner = _owner(request)
            repeat = Job(**_key_columns(request, key, owner and owner.pk))
        except (ImproperlyConfigured, RecursionError, Unencodable):
            return None  # what cannot be stored was not accepted before
        earlier = first_of(repeat)
        return None if earlier is None else self.get_accepted_response(request, earlier)

    # --- Making the input --------------------------------------------------------------------------------

    def get_accept_object(self) -> Any:
        """Return the object that the request is about, for its 404 and its permissions now; None where there is none.

        PUT, PATCH and DELETE of a generic view look theirs up, a creation has none, and for everything else the lookup
        of the route decides. Override it where the route names something else, or what may not be there yet.
        """
        return generic.object_of(self)

    def validate(self, request: Request, instance: Any = None, *, partial: bool | None = None) -> Any:
        """Return the validated input, or the request's data where the view has no serializer.

        Args:
            instance: the object that PUT or PATCH changes.
            partial: whether what is not said stays as it is; None: with PATCH.

        Raises:
            ValidationError: the input is not valid (400); no job is stored.
        """
        make = generic.serializer_maker(self, request)
        if make is None or request.method == "DELETE":
            return request.data if isinstance(request.data, Mapping) else {"data": request.data}
        return generic.validated(make, request, instance, partial=partial)

    def get_accept_input(self, request: Request, validated: Any) -> Any:
        """Return the input of the job, as JSON can say it.

        For a task: its keyword arguments, by default the validated data; model instances become their
        primary keys, a list becomes the argument ``items``. For a replay: the parsed data of the request.
        """
        if self.accept_task is None:
            return replay.capture_data(request.data, request.FILES)
        if validated is None:
            return {}
        kept = plain(validated)
        return kept if isinstance(kept, dict) else {"items": kept}

    def get_accept_operation(self, request: Request) -> str:
        """Return the operation's name: the route's base name, or the view's class, and the action."""
        if self.accept_operation:
            return self.accept_operation
        noun = getattr(self, "basename", None) or _noun(type(getattr(self, "view", self)).__name__)
        verb = getattr(self, "action", None) or VERBS.get(request.method or "", str(request.method).lower())
        return f"{noun}.{verb}"

    def get_active_key(self, request: Request, validated: Any) -> str | None:
        """Return a key of which one job of this operation may be active at a time; None for no such rule."""
        return None if self.accept_active_key is None else self.accept_active_key(request, validated)

    def get_idempotency_key(self, request: Request) -> str | None:
        """Return the request's idempotency key; None where there is none. What changes nothing never needs one.

        Raises:
            IdempotencyKeyMissing: the view requires one (400).
            IdempotencyKeyInvalid: malformed (400).
        """
        policy = (self.accept_idempotency or conf.IDEMPOTENCY) if request.method in VERBS else "ignored"
        return keys.requested_key(request.META.get("HTTP_IDEMPOTENCY_KEY"), policy)

    def make_job(self, request: Request, validated: Any, instance: Any) -> Job:
        """Build the job, without storing it.

        Raises:
            Unencodable: the input has no strict JSON form.
            ImproperlyConfigured: the caller is known, but is no user of the project's, so nobody could own the job.
        """
        owner = _owner(request)
        job = Job(
            id=new_id(anonymous=owner is None),
            owner=owner,
            anonymous=owner is None,
            operation=self.get_accept_operation(request),
            input=self.get_accept_input(request, validated),
        )
        if isinstance(instance, models.Model):
            job.object_type = ContentType.objects.get_for_model(instance, for_concrete_model=False)
            job.object_id = str(instance.pk)
        self._say_how(job, request)
        self._make_unique(job, request, validated)
        return job

    def _say_how(self, job: Job, request: Request) -> None:
        task = self.accept_task
        if task is None:
            job.task = "async_accept.replay"
            job.request = {**replay.capture(request), "atomic": self.accept_atomic}
            again = self.accept_retry_when_lost
            job.max_attempts = conf.MAX_ATTEMPTS
            job.retry_when_lost = self.accept_atomic if again is None else again
        else:
            job.task = task.name
            for name, value in publish.limits(task).items():
                setattr(job, name, value)
        seconds = _given(self.accept_retry_after, getattr(task, "retry_after", None))
        # A whole number here already: the row is not read back for the 202.
        job.retry_after = None if seconds is None else max(1, math.ceil(seconds))

    def _make_unique(self, job: Job, request: Request, validated: Any) -> None:
        key = self.get_idempotency_key(request)
        if key is not None:
            columns = _key_columns(request, key, job.owner_id)
            job.idempotency_key, job.fingerprint = columns["idempotency_key"], columns["fingerprint"]
        active = self.get_active_key(request, validated)
        if active is not None:
            job.active_key = job.active_hash = keys.fingerprint([job.operation, active])
            job.joins_active = self.accept_when_active == "join"

    # --- Storing -----------------------------------------------------------------------------------------

    def accept(self, request: Request, validated: Any = None, *, instance: Any = None) -> Response:
        """Store a job for this request and return the 202, or the answer itself if it comes while the client waits.

        Raises:
            ValidationError: the input has no strict JSON form, such as a NUL character (400).
            AcceptRefused: see its subclasses; nothing is stored.
        """
        if request.method not in VERBS:
            raise ImproperlyConfigured(
                f"{type(self).__name__} accepts {request.method}, which must change nothing."
            )
        try:
            job = self.make_job(request, validated, instance)
            stored = self.store(job)
        except Unencodable as error:
            raise ValidationError({"detail": [str(error)]}) from error
        except Error as error:
            if not is_outage(error):
                raise
            raise Unavailable.because(error) from error
        return self.get_accepted_response(request, stored)

    def store(self, job: Job) -> Job:
        """Store *job* on the view's terms; return it, or the earlier job that this request repeats or joins.

        Raises:
            AcceptRefused: see ``async_accept.jobs.accept.admit()``.
        """
        terms = Terms(
            max_active=_given(self.accept_max_active, conf.MAX_ACTIVE_PER_OPERATION),
            max_active_per_owner=_given(self.accept_max_active_per_owner, conf.MAX_ACTIVE_PER_OWNER),
            max_bytes=_given(self.accept_max_bytes, conf.MAX_INPUT_BYTES),
            insist=(self.accept_when_broker_down or conf.WHEN_BROKER_DOWN) == "refuse",
            joins=self.accept_when_active == "join" and self._has_active_keys(),
        )
        return admit(job, terms)

    def _has_active_keys(self) -> bool:
        return self.accept_active_key is not None or (
            type(self).get_active_key is not Accepting.get_active_key
        )

    # --- Building the 202 ----------------------------------------------------------------------------------

    def get_accepted_response(self, request: Request, job: Job) -> Response:
        """Return the 202 for a stored job, or its final answer if it ends within the time that the client waits.

        Raises:
            Http404: the job was deleted meanwhile.
        """
        return promised(job, request, self.get_preferences(request))

    # --- What surrounds every answer of an accepting view ----------------------------------------------------

    def get_renderers(self) -> Any:
        return with_panel(super().get_renderers())  # type: ignore[misc]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        self.adopt_form_key(request)

    def adopt_form_key(self, request: Request) -> None:
        """Find the ``Idempotency-Key`` in a browser's form, unless that is above the limit: then it stays unread."""
        if not self._is_too_long(request):
            adopt_form_key(request)

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return add_terms(super().options(request, *args, **kwargs), self, request)  # type: ignore[misc]

    def handle_exception(self, exc: Exception) -> Any:
        """Answer 503 with Retry-After while the database is away, in the view's own error format."""
        if is_outage(exc) and not self._is_replay():
            exc = Unavailable.because(exc)
        return super().handle_exception(exc)  # type: ignore[misc]

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        if request.method in VERBS:
            patch_vary_headers(response, VARY)
        return response

    def _is_replay(self) -> bool:
        return replay.job_of(getattr(self, "request", None)) is not None


def _given(value: Any, setting: Any) -> Any:
    """Return *value*, 0 and all; the setting where it is None."""
    return setting if value is None else value


def _key_columns(request: Request, key: str, caller: Any) -> dict[str, str]:
    data = uploads.fingerprints(replay.capture_data(request.data))
    payload = [data, request.META.get("QUERY_STRING", "")]
    method, route = str(request.method), request._request.path_info
    return keys.columns(key, caller=caller, method=method, route=route, payload=payload)


def _owner(request: Request) -> Any:
    """Return the user who asks; None for an anonymous caller, and for nobody else: to those the URL is the key."""
    user: Any = request.user
    if isinstance(user, get_user_model()) and user.pk is not None:
        return user
    if user is None or not getattr(user, "is_authenticated", True):
        return None
    raise ImproperlyConfigured(
        f"request.user is a {type(user).__name__} and no stored {settings.AUTH_USER_MODEL}, so nobody could own the "
        "job, follow it, or be who its replay acts for. Let the view's authentication return a user of the project."
    )


def _noun(class_name: str) -> str:
    for ending in ("ViewSet", "APIView", "View"):
        class_name = class_name.removesuffix(ending)
    return camelcase_to_spaces(class_name).lower().replace(" ", "-") or "view"
