"""Run the view of an accepted request in the worker.

The worker resolves the path as Django did, so nested routes, versions, format suffixes and custom lookups are the same.
It does not authenticate or throttle again, but it loads the owner and checks the permissions again. The response of the
view becomes the result of the job.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from contextvars import ContextVar, copy_context
from functools import lru_cache, partial
from typing import Any, TypeVar, cast

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.http import Http404, HttpRequest
from django.urls import ResolverMatch
from django.utils.functional import SimpleLazyObject
from rest_framework.exceptions import APIException, PermissionDenied
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from ..db.autocommit import as_in_autocommit
from ..exceptions import NotKept
from ..models import Job, database
from . import uploads, values
from .attempt import current_attempt
from .capture import authenticator_path
from .circumstances import circumstances, resolved
from .control import is_control
from .once import Checks, in_use
from .parsed import restore_data
from .rebuilt import OF_USER, Missing, hand_on_forms, rebuild, without, without_auth
from .rendering import render
from .variables import restore_variables

__all__ = [
    "REPLAY",
    "Replayed",
    "alone",
    "decorated",
    "find_view",
    "in_transactions",
    "job_of",
    "named_as",
    "owner",
    "prepare",
    "replay",
    "view_kwargs",
    "with_class",
]

Returned = TypeVar("Returned")
#: The task of a job whose work is its view's.
REPLAY = "async_accept.replay"


def job_of(request: Any) -> Job | None:
    """Return the job whose replay *request* is; None for an ordinary request."""
    return getattr(getattr(request, "_request", request), "accept_job", None)


def decorated(handler: Any) -> Any:
    """Return the decorated function in *handler*, which ``@api_view`` may hide in its own; None if there is none."""
    if hasattr(handler, "accept_options"):
        return handler
    for cell in getattr(handler, "__closure__", None) or ():
        try:
            inner = cell.cell_contents
        except ValueError:  # an empty cell
            continue
        if inspect.isfunction(inner) and hasattr(inner, "accept_options"):
            return inner
    return None


#: What ``restore_accept_context()`` has entered; it is left when the attempt is over.
_entered: ContextVar[ExitStack] = ContextVar("async_accept_entered")


def alone(work: Callable[[], Returned]) -> Returned:
    """Call *work*, around an attempt at a replay: what the view sets in context variables ends with the attempt."""

    def inside() -> Returned:
        with ExitStack() as stack:
            _entered.set(stack)
            return work()

    return copy_context().run(inside)


def replay(job: Job) -> Any:
    """Run the view that accepted *job*, and return its response, rendered, also if that is an error.

    Raises:
        PermissionDenied: the owner is deleted or inactive (403).
        Resolver404: no route matches the path any more.
        Unencodable: the data has no JSON form.
    """
    with circumstances(job.request):
        return render(_run_view(job))


def _run_view(job: Job) -> Any:
    match = find_view(job)
    request, function = prepare(job, match, Replayed, owner(job))
    with _outside_of_ours(function._non_atomic_requests), in_use(request):
        return in_transactions(function)(request, *match.args, **match.kwargs)


def find_view(job: Job) -> ResolverMatch:
    """Return the view of the request with its arguments, and set the context variables of the project as they were.

    Raises:
        Resolver404: no route matches the path any more.
        NotKept: an argument could not be kept.
    """
    stored: dict[str, Any] = job.request
    match = resolved(stored)
    match.kwargs = view_kwargs(match.kwargs, stored)
    restore_variables(stored.get("variables", {}))
    return match


def prepare(job: Job, match: ResolverMatch, how: Any, user: Any) -> tuple[HttpRequest, Any]:
    """Return the rebuilt request of *job*, and its view as a function, with *how* mixed in before the view's class."""
    accepting: Any = match.func
    request = _rebuild(job, job.request, user)
    request.resolver_match = match
    return request, with_class(accepting, _replayed(accepting.cls, how))


def with_class(accepting: Any, view: Any) -> Any:
    """Return *accepting*, a view function of REST framework's, with the class *view* in the place of its own."""
    actions = getattr(accepting, "actions", None)
    function = view.as_view(*[actions] if actions else [], **accepting.initkwargs)
    function._non_atomic_requests = set(getattr(accepting, "_non_atomic_requests", ()))
    return function


def in_transactions(function: Any) -> Any:
    """Return *function* as Django calls it for a request, if a database has ATOMIC_REQUESTS."""
    return BaseHandler().make_view_atomic(function)


def view_kwargs(of_path: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the view's keyword arguments: of the path, as middleware had changed them."""
    kept = stored.get("kwargs")
    if kept is None:  # stored by older code
        return of_path
    if lost := [name for name, value in kept.items() if value is None and name not in of_path]:
        raise NotKept(f"view.kwargs[{lost[0]!r}]")
    return {
        name: of_path[name] if value is None else values.restore(value)[0] for name, value in kept.items()
    }


def _outside_of_ours(opted_out: set[str]) -> AbstractContextManager[None]:
    """Hide the transaction of the attempt from a view whose request would have none."""
    using, attempt = database(), current_attempt()
    if attempt is None or not attempt.atomic:
        return nullcontext()
    attempt.hides_transaction = using in opted_out or not connections[using].settings_dict["ATOMIC_REQUESTS"]
    return as_in_autocommit(using) if attempt.hides_transaction else nullcontext()


def _rebuild(job: Job, stored: Mapping[str, Any], user: Any) -> HttpRequest:
    # A WSGI request even if it came by ASGI: a view reads both alike.
    meta = stored["meta"]
    # A request without a body has no length, and one in chunks has none either. Not 0 if there was data: only then REST
    # framework calls the parser.
    length = {"CONTENT_LENGTH": "0" if job.input is None else "1"}
    request: Any = rebuild(stored, length | meta)
    # Middleware may have changed these, without their part of the META.
    request.method, request.path, request.path_info = (
        stored[name] for name in ("method", "path", "path_info")
    )
    request.META.update({name: meta[name] for name in ("SCRIPT_NAME", "PATH_INFO") if name in meta})
    if stored.get("encoding") is not None:
        request.encoding = stored["encoding"]
    request.user = user
    request.accept_job = job
    request.accept_checks = Checks(stored.get("checks", {}))
    found = stored.get("found", {})
    if "LANGUAGE_CODE" in found:
        request.LANGUAGE_CODE = found["LANGUAGE_CODE"]
    if "auser" in found:
        request.auser = partial(_itself, request.user)
    if "site" in found:
        request.site = SimpleLazyObject(partial(_site, request, found["site"]["pk"]))
    return cast(HttpRequest, request)


async def _itself(user: Any) -> Any:
    return user


def _site(request: HttpRequest, pk: Any) -> Any:
    """Return what ``CurrentSiteMiddleware`` had found: a row, or the host if that app is not installed."""
    from django.contrib.sites.requests import RequestSite

    if pk is None:
        return RequestSite(request)
    from django.contrib.sites.models import Site

    return Site.objects.get(pk=pk)


def owner(job: Job) -> Any:
    """Load the owner again: one who was deleted or locked out meanwhile may not act any more."""
    stored: Mapping[str, Any] = job.request or {}
    found = stored.get("found", {})
    missing = [name.removeprefix(OF_USER) for name in stored.get("missing", ()) if name.startswith(OF_USER)]
    if job.anonymous:
        return without(_nobody(found), missing)
    model: Any = apps.get_model(found["user"]) if "user" in found else get_user_model()
    user = model._default_manager.filter(pk=job.owner_id).first() if job.owner_id else None
    if user is None or not getattr(user, "is_active", True):
        raise PermissionDenied("The account that made this request may not act any more.")
    return without(user, missing)


def _nobody(found: Mapping[str, Any]) -> Any:
    kind: Any = api_settings.UNAUTHENTICATED_USER  # a class, or None
    if "anonymous" in found:
        kind = values.load_class(found["anonymous"]) if found["anonymous"] else partial(Missing, "user")
    return kind and kind()


def _note_raised(error: Exception | None) -> None:
    attempt = current_attempt()
    if attempt is not None:
        attempt.raised = error


class StoredData(BaseParser):
    """Returns the data that was parsed when the request was accepted."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        job = parser_context["request"].accept_job
        if job.task != REPLAY:
            raise NotKept("data")  # a task has it, and the view only renders what that returns
        return restore_data(uploads.restore(job))


class Replayed:
    """Mixed before a view's class: an accepted request is not authenticated and not throttled again."""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        rebuilt: Any = super().initialize_request(request, *args, **kwargs)  # type: ignore[misc]
        _note_raised(None)
        hand_on_forms(rebuilt)
        job: Any = job_of(request)
        stored = job.request
        rebuilt.user = request.user
        # If one of these is missing, REST framework authenticates again, and the caller becomes anonymous.
        if "auth" in stored.get("missing", ()):
            without_auth(rebuilt)
        else:
            rebuilt.auth = None
        known = [
            each for each in rebuilt.authenticators if authenticator_path(each) == stored.get("authenticator")
        ]
        rebuilt._authenticator = known[0] if known else None
        # Without the one that knew the caller, who is refused would have to say again who they are.
        rebuilt.authenticators = rebuilt.authenticators if known else []
        if stored.get("context") is not None:
            self._restore(rebuilt, stored["context"])
        return cast(Request, rebuilt)

    def _restore(self, request: Request, context: Any) -> None:
        """Put back what the view has kept of its request; a context manager stays open as long as the attempt."""
        view: Any = self
        view.request = request
        handler = decorated(getattr(view, str(request.method).lower(), None))
        pair = (handler and handler.accept_options.get("context")) or getattr(view, "accept_context", None)
        restored = (pair[1] if pair else view.restore_accept_context)(request, values.restore(context))
        if isinstance(restored, AbstractContextManager):
            _entered.get().enter_context(restored)

    def handle_exception(self, exc: Exception) -> Any:
        """Pass on what is not the project's to answer; remember what its handlers may answer with a 5xx."""
        is_expected = isinstance(exc, APIException | Http404 | DjangoPermissionDenied)
        _note_raised(None if is_expected else exc)
        if is_control(exc):
            raise exc
        return super().handle_exception(exc)  # type: ignore[misc]

    def get_parsers(self) -> list[BaseParser]:
        return [StoredData()]

    def check_throttles(self, request: Request) -> None:
        """Do nothing: the request was counted when it was accepted."""


@lru_cache(maxsize=1024)
def _replayed(view: type[APIView], how: type[Replayed]) -> type[APIView]:
    return named_as(view, how)


def named_as(view: type[APIView], how: type) -> type[APIView]:
    """Return a class of *view* with *how* mixed in before, and with the names of *view*: ``once`` tells it by them."""
    same = {name: getattr(view, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(view.__name__, (how, view), same)
