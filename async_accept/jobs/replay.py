"""Capture a request at accept, and run its view in the worker.

The worker resolves the path as Django did, so nested routes, versions, format suffixes and custom lookups are the same.
It does not authenticate or throttle again, but it loads the owner and checks the permissions again. The response of the
view becomes the result of the job.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from typing import Any, cast

from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import UploadedFile
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, QueryDict
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

from ..models import Job
from . import uploads

__all__ = ["capture", "circumstances", "finalize", "job_of", "replay"]

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


def capture(request: Request) -> dict[str, Any]:
    """Return what is needed to rebuild *request*, without its data."""
    django_request = request._request
    meta = {name: str(value) for name in KEPT_META if (value := django_request.META.get(name))}
    return {
        "method": request.method,
        "path": django_request.path,
        "path_info": django_request.path_info,
        "scheme": django_request.scheme,
        "meta": meta,
        "script_prefix": get_script_prefix(),
        "urlconf": _own_urlconf(django_request),
        "language": translation.get_language(),
        "time_zone": timezone.get_current_timezone_name(),
    }


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


def _own_urlconf(request: HttpRequest) -> str | None:
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
    is_done = response is not None
    request: Any = _rebuild(job, stored, SimpleLazyObject(lambda: _owner(job)) if is_done else _owner(job))
    request.resolver_match = match
    view: Any = _replayed(accepting.cls, Finalized if is_done else Replayed)
    options = dict(accepting.initkwargs)
    actions = getattr(accepting, "actions", None)
    function = view.as_view(actions, **options) if actions else view.as_view(**options)
    function._non_atomic_requests = getattr(accepting, "_non_atomic_requests", set())
    if is_done:
        request.accept_response = response
        return function(request, *match.args, **match.kwargs)
    # As Django does for a request, if a database has ATOMIC_REQUESTS.
    return BaseHandler().make_view_atomic(function)(request, *match.args, **match.kwargs)


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
        "wsgi.input": BytesIO(b"" if job.input is None else b" "),
    }
    request: Any = WSGIRequest(environ)
    if stored["urlconf"]:
        request.urlconf = stored["urlconf"]
    request.user = user
    request.accept_job = job
    return cast(HttpRequest, request)


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
        rebuilt: Request = super().initialize_request(request, *args, **kwargs)  # type: ignore[misc]
        rebuilt.user = request.user
        # If one of these is missing, REST framework authenticates again, without credentials: as nobody.
        rebuilt.auth = None
        rebuilt.authenticators = []
        rebuilt._authenticator = None  # type: ignore[attr-defined] # no setter
        return rebuilt

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
