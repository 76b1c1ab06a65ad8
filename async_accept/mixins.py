"""Accepting in views: validate now, answer 202, and let a worker run the view's own handler, or a task.

Put one of these mixins before REST framework's class. Everything that the view does before its handler stays in force
in the request: authentication, permissions, throttles, parsers, versioning. The handler that REST framework is about
to call is replaced on the view's instance, so handlers of the view's own, inherited ones and REST framework's are all
the same: the whole handler runs in the worker, with what it calls by ``super()``.
"""

from functools import partial
from typing import Any

from django.utils.cache import patch_vary_headers
from rest_framework.request import Request
from rest_framework.response import Response

from .exceptions import Unavailable
from .http.accept import Acceptance
from .http.errors import ExceptionHandler, assume_anonymous, naming_refusals
from .http.generic import VERBS
from .http.metadata import add_terms
from .http.negotiation import with_panel
from .http.options import AcceptOptions, accepting_handlers
from .http.outages import passes
from .http.responses import VARY
from .http.transactions import in_own_transactions
from .jobs.capture import note_names
from .jobs.parsed import keep_input
from .jobs.replay import job_of

__all__ = [
    "AcceptCreateMixin",
    "AcceptDestroyMixin",
    "AcceptMixin",
    "AcceptModelMixin",
    "AcceptUpdateMixin",
    "AcceptingView",
]


class AcceptingView(AcceptOptions):
    """Base of the mixins: replaces the handler that accepts, and adds to the view's answers what every 202 needs."""

    #: The names of the handlers that accept: actions of generic views, or HTTP methods in small letters.
    _handlers: tuple[str, ...] = ()

    @classmethod
    def as_view(cls, *args: Any, **initkwargs: Any) -> Any:
        return in_own_transactions(super().as_view(*args, **initkwargs))  # type: ignore[misc]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        acceptance = Acceptance(self, request)
        acceptance.adopt_form_key()
        name = str(request.method).lower()
        work = getattr(self, name, None)
        # A handler with @accepts accepts on its own terms.
        if request.method in VERBS and work is not None and not hasattr(work, "accept_options"):
            accepting = accepting_handlers(type(self))
            verb = getattr(self, "action", None) or VERBS[request.method]
            if verb in accepting:
                setattr(self, name, partial(_accept, acceptance, verb, work))
            elif name in accepting:
                setattr(self, name, partial(_accept, acceptance, "", work))

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        made: Request = super().initialize_request(request, *args, **kwargs)  # type: ignore[misc]
        return keep_input(made) if made.method in VERBS and job_of(made) is None else made

    def perform_authentication(self, request: Request) -> None:
        super().perform_authentication(request)  # type: ignore[misc]
        note_names(request)

    def get_renderers(self) -> Any:
        return with_panel(super().get_renderers())  # type: ignore[misc]

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return add_terms(super().options(request, *args, **kwargs), self, request)  # type: ignore[misc]

    def get_exception_handler(self) -> ExceptionHandler:
        return naming_refusals(super().get_exception_handler())  # type: ignore[misc]

    def handle_exception(self, exc: Exception) -> Any:
        """Answer 503 with Retry-After if the database fails and that passes, or a disk is full.

        The answer has the view's own error format.
        """
        if passes(exc) and job_of(getattr(self, "request", None)) is None:
            assume_anonymous(self.request, exc)  # type: ignore[attr-defined]
            exc = Unavailable.because(exc)
        return super().handle_exception(exc)  # type: ignore[misc]

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        if request.method in VERBS:
            patch_vary_headers(response, VARY)
        return response


def _accept(acceptance: Acceptance, verb: str, work: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
    """Stand in for the handler *work*, called as REST framework calls it.

    Args:
        verb: what a mixin for generic views calls the handler; empty for ``AcceptMixin``.
        work: None if there is no handler, and a task does the work.
    """
    view = acceptance.view
    has_tag = verb in ("update", "partial_update", "destroy")

    def prepare() -> tuple[Any, Any]:
        if has_tag:
            acceptance.check_if_match()
        instance = view.get_accept_object()
        if verb == "destroy" or not acceptance.has_data:
            return None, instance
        return view.validate_accept(request, instance), instance

    def work_now() -> Any:
        if has_tag:
            acceptance.check_if_match()
        return work(request, *args, **kwargs)

    return acceptance.decide(prepare, work and work_now)


class AcceptMixin(AcceptingView):
    """For an ``APIView``: its POST, PUT, PATCH and DELETE handlers run in the worker, or ``accept_task`` does.

    With ``accept_task`` and no handler at all, the view takes POST.
    """

    _handlers: tuple[str, ...] = tuple(method.lower() for method in VERBS)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.accept_task is not None and not any(hasattr(cls, method.lower()) for method in VERBS):
            cls.post = _handler_for_task()  # type: ignore[attr-defined]


def _handler_for_task() -> Any:
    """Return a handler of its own for each view: what decorators and tools note on it is not of other views."""

    def post(self: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
        # In whatever mode: there is no handler that could answer at once. A docstring would describe the user's view.
        return _accept(Acceptance(self, request), "", None, request)

    return post


class AcceptCreateMixin(AcceptingView):
    """``create()`` runs in the worker: now 202, and there the very same 201 later."""

    _handlers: tuple[str, ...] = ("create",)


class AcceptUpdateMixin(AcceptingView):
    """``update()`` and ``partial_update()`` run in the worker."""

    _handlers: tuple[str, ...] = ("update", "partial_update")


class AcceptDestroyMixin(AcceptingView):
    """``destroy()`` runs in the worker."""

    _handlers: tuple[str, ...] = ("destroy",)


class AcceptModelMixin(AcceptCreateMixin, AcceptUpdateMixin, AcceptDestroyMixin):
    """Everything that changes a model runs in the worker."""
