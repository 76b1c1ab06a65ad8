"""Capture a request at accept, and run its view in the worker.

The worker resolves the path as Django did, so nested routes, versions, format suffixes and custom lookups are the same.
It does not authenticate or throttle again, but it loads the owner and checks the permissions again. The response of the
view becomes the result of the job.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from functools import lru_cache, partial
from typing import Any, TypeVar, cast

from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import UploadedFile
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.http import HttpRequest, QueryDict
from django.http.request import HttpHeaders
from django.urls import get_script_prefix, get_urlconf, resolve, set_script_prefix, set_urlconf
from django.utils import timezone, translation
from django.utils.datastructures import MultiValueDict
from django.utils.functional import SimpleLazyObject
from rest_framework.exceptions import PermissionDenied
from rest_framework.parsers import BaseParser, DataAndFiles
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from ..db.autocommit import as_in_autocommit
from ..exceptions import NotKept
from ..models import Job, database
from . import uploads
from .attempt import current_attempt
from .rebuilt import RebuiltRequest, missing_from, names_on, without_auth
from .variables import restore_variables, variables

__all__ = [
    "alone",
    "capture",
    "circumstances",
    "decorated",
    "finalize",
    "job_of",
    "note_names",
    "own_urlconf",
    "replay",
]

Returned = TypeVar("Returned")

#: The parts of the request's META that are stored: they decide URLs, content and conditions. No cookies, and no
#: authorization.
KEPT_META = (
    "SERVER_NAME",
    "SERVER_PORT",
    # For the project's permissions and records; this package does not use them.
    "REMOTE_ADDR",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_USER_AGENT",
    "HTTP_HOST",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_IF_MATCH",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_X_REQUEST_ID",
    "HTTP_TRACEPARENT",
    "HTTP_TRACESTATE",
    "CONTENT_TYPE",
    "QUERY_STRING",
)


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


# --- At accept ------------------------------------------------------------------------------------------------


def note_names(request: Request) -> None:
    """Remember what middleware and authentication have put on *request*. Call it right after the authentication."""
    request._accept_names = names_on(request)  # type: ignore[attr-defined]


def capture(request: Request, headers: Iterable[str] = (), context: Any = None) -> dict[str, Any]:
    """Return what is needed to rebuild *request*, without its data.

    Args:
        headers: the names of further headers to keep.
        context: what the view keeps of its request.
    """
    django_request = request._request
    kept = [*KEPT_META, *map(_meta_name, headers)]
    meta = {name: str(value) for name in kept if (value := django_request.META.get(name))}
    names = vars(request).get("_accept_names")
    return {
        "method": request.method,
        "path": django_request.path,
        "path_info": django_request.path_info,
        "scheme": django_request.scheme,
        "meta": meta,
        "script_prefix": get_script_prefix(),
        "urlconf": own_urlconf(django_request),
        "language": translation.get_language(),
        "time_zone": timezone.get_current_timezone_name(),
        "missing": missing_from(request, names_on(request) if names is None else names),
        "found": _found_on(django_request),
        "authenticator": _path(request.successful_authenticator),
        "context": context,
        "variables": variables(),
    }


def _meta_name(header: str) -> str:
    return str(HttpHeaders.to_wsgi_name(header))


def _found_on(request: HttpRequest) -> dict[str, Any]:
    """Return what Django's own middleware has put on *request*, in a form that JSON can hold."""
    there = vars(request)
    site = there.get("site")
    found = {
        "LANGUAGE_CODE": there.get("LANGUAGE_CODE"),
        "site": None if site is None else {"pk": getattr(site, "pk", None)},
        "auser": "auser" in there or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _path(authenticator: Any) -> str | None:
    kind = type(authenticator)
    return None if authenticator is None else f"{kind.__module__}.{kind.__qualname__}"


def capture_data(data: Any, files: Any = None) -> dict[str, Any]:
    """Return parsed request data in a form that JSON can hold; forms keep their repeated fields.

    Args:
        files: the files that the parser returned apart (``request.FILES``). REST framework has added them to the data.
    """
    if isinstance(data, MultiValueDict):
        return {"form": _pairs(data)}
    if not files:
        return {"data": data}
    fields = {
        key: value for key, value in data.items() if key not in files or value is not dict.get(files, key)
    }
    return {"data": fields, "files": _pairs(files) if isinstance(files, MultiValueDict) else dict(files)}


def _pairs(data: MultiValueDict[str, Any]) -> list[list[Any]]:
    return [[key, data.getlist(key)] for key in data]


def own_urlconf(request: HttpRequest) -> str | None:
    """Return the name of the URLconf that a middleware set; None for the project's own, which may be renamed."""
    own = getattr(request, "urlconf", None)
    return own if own is None or isinstance(own, str) else own.__name__


def restore_data(stored: Mapping[str, Any] | None) -> Any:
    """Return what the parser returned when the request was accepted: the files apart from the fields."""
    if stored is None:
        return {}
    if "files" in stored:
        kept = stored["files"]
        return DataAndFiles(stored["data"], MultiValueDict(kept) if isinstance(kept, list) else kept)
    if "form" not in stored:
        return stored["data"]
    data = QueryDict(mutable=True)
    files: MultiValueDict[str, Any] = MultiValueDict()
    for key, values in stored["form"]:
        for value in values:
            (files if isinstance(value, UploadedFile) else data).appendlist(key, value)
    return DataAndFiles(data, files)


# --- In the worker --------------------------------------------------------------------------------------------

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
    from .rendering import render

    with circumstances(job.request):
        return render(_run_view(job, job.request))


def finalize(job: Job, response: Response) -> Any:
    """Let the view that accepted *job* finalize *response*, with its renderer, as if it had returned it.

    Raises:
        Resolver404: no route matches the path any more.
    """
    return _run_view(job, job.request, response)


@contextmanager
def circumstances(stored: Mapping[str, Any]) -> Iterator[None]:
    """Restore what is global while a request is handled: URLs, language and time zone."""
    before = get_script_prefix(), get_urlconf()
    set_script_prefix(stored["script_prefix"])
    set_urlconf(stored["urlconf"])
    try:
        with translation.override(stored["language"]), timezone.override(stored["time_zone"]):
            yield
    finally:
        set_script_prefix(before[0])
        set_urlconf(before[1])


def _run_view(job: Job, stored: Mapping[str, Any], response: Response | None = None) -> Any:
    """Run the view; with *response*, only what is around its handler, which is taken to have returned that."""
    match = resolve(stored["path_info"], stored["urlconf"])
    accepting: Any = match.func
    restore_variables(stored.get("variables", {}))
    is_done = response is not None
    request: Any = _rebuild(job, stored, SimpleLazyObject(lambda: _owner(job)) if is_done else _owner(job))
    request.resolver_match = match
    view: Any = _replayed(accepting.cls, Finalized if is_done else Replayed)
    options = dict(accepting.initkwargs)
    actions = getattr(accepting, "actions", None)
    function = view.as_view(actions, **options) if actions else view.as_view(**options)
    opted_out = set(getattr(accepting, "_non_atomic_requests", ()))
    function._non_atomic_requests = opted_out
    if is_done:
        request.accept_response = response
        return function(request, *match.args, **match.kwargs)
    # As Django does for a request, if a database has ATOMIC_REQUESTS.
    in_transactions = BaseHandler().make_view_atomic(function)
    with _outside_of_ours(opted_out):
        return in_transactions(request, *match.args, **match.kwargs)


def _outside_of_ours(opted_out: set[str]) -> AbstractContextManager[None]:
    """Hide the transaction of the attempt from a view whose request would have none."""
    using, attempt = database(), current_attempt()
    if attempt is None or not attempt.atomic:
        return nullcontext()
    attempt.hides_transaction = using in opted_out or not connections[using].settings_dict["ATOMIC_REQUESTS"]
    return as_in_autocommit(using) if attempt.hides_transaction else nullcontext()


def _rebuild(job: Job, stored: Mapping[str, Any], user: Any) -> HttpRequest:
    # A WSGI request even if it came by ASGI: a view reads both alike.
    environ = {
        **stored["meta"],
        "REQUEST_METHOD": stored["method"],
        "SCRIPT_NAME": _wsgi(stored["path"].removesuffix(stored["path_info"])),
        "PATH_INFO": _wsgi(stored["path_info"]),
        "wsgi.url_scheme": stored["scheme"],
        # Not empty if there was data: only then REST framework calls the parser, which returns the stored data.
        "CONTENT_LENGTH": "0" if job.input is None else "1",
    }
    request: Any = RebuiltRequest(environ, frozenset(stored.get("missing", ())))
    if stored["urlconf"]:
        request.urlconf = stored["urlconf"]
    request.user = user
    request.accept_job = job
    request.csrf_processing_done = True  # the token was checked when the request was accepted
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


def _wsgi(path: str) -> str:
    """Return *path* as WSGI wants it: its UTF-8 bytes decoded as Latin-1 (PEP 3333)."""
    return path.encode().decode("latin-1")


def _owner(job: Job) -> Any:
    """Load the owner again: one who was deleted or locked out meanwhile may not act any more."""
    if job.anonymous:
        nobody: Any = api_settings.UNAUTHENTICATED_USER  # a class, or None
        return nobody and nobody()
    user = get_user_model()._default_manager.filter(pk=job.owner_id).first() if job.owner_id else None
    if user is None or not user.is_active:
        raise PermissionDenied("The account that made this request may not act any more.")
    return user


class StoredData(BaseParser):
    """Returns the data that was parsed when the request was accepted."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return restore_data(uploads.restore(parser_context["request"].accept_job))


class Replayed:
    """Mixed before a view's class: an accepted request is not authenticated and not throttled again."""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        rebuilt: Any = super().initialize_request(request, *args, **kwargs)  # type: ignore[misc]
        job: Any = job_of(request)
        stored = job.request
        rebuilt.user = request.user
        # If one of these is missing, REST framework authenticates again, and the caller becomes anonymous.
        if "auth" in stored.get("missing", ()):
            without_auth(rebuilt)
        else:
            rebuilt.auth = None
        known = [each for each in rebuilt.authenticators if _path(each) == stored.get("authenticator")]
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
        restored = (pair[1] if pair else view.restore_accept_context)(request, context)
        if isinstance(restored, AbstractContextManager):
            _entered.get().enter_context(restored)

    def handle_exception(self, exc: Exception) -> Any:
        """Let no handler of the project's turn it into an answer: the job's problem says what is missing."""
        if isinstance(exc, NotKept):
            raise exc
        return super().handle_exception(exc)  # type: ignore[misc]

    def get_parsers(self) -> list[BaseParser]:
        return [StoredData()]

    def check_throttles(self, request: Request) -> None:
        """Do nothing: the request was counted when it was accepted."""


class Finalized(Replayed):
    """As ``Replayed``, but a task did the work: the view only finalizes what that has answered."""

    def dispatch(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        self.args, self.kwargs = args, kwargs
        self.request = rebuilt = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        self.format_kwarg = self.get_format_suffix(**kwargs)
        rebuilt.accepted_renderer, rebuilt.accepted_media_type = self.perform_content_negotiation(rebuilt)
        rebuilt.version, rebuilt.versioning_scheme = self.determine_version(rebuilt, *args, **kwargs)
        self.response = self.finalize_response(rebuilt, request.accept_response, *args, **kwargs)
        return self.response


@lru_cache(maxsize=1024)
def _replayed(view: type[APIView], how: type[Replayed]) -> type[APIView]:
    return type(view.__name__, (how, view), {"__module__": view.__module__, "__doc__": view.__doc__})
