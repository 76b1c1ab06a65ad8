"""Capturing a request at accept, and running its own view again in the worker.

The worker resolves the request's path as Django did, so that nested routes, versions, format suffixes and
custom lookups are what they were, and runs the view without authenticating or throttling again: the
owner is loaded and the permissions are checked anew. What the view answers is the job's answer.
"""

from collections.abc import Mapping
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
from rest_framework.exceptions import PermissionDenied
from rest_framework.parsers import BaseParser, DataAndFiles
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from ..models import Job
from . import uploads

__all__ = ["capture", "job_of", "replay"]

#: What of the request's META is stored: what decides URLs, content and conditions. No cookies, no authorization.
KEPT_META = (
    "SERVER_NAME",
    "SERVER_PORT",
    # For permissions and records that ask where a request came from, not for the job's own use.
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
    """Return the job that *request* is replayed for; None in an ordinary request."""
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
    """Return parsed request data in a form that JSON keeps; forms keep their repeated fields.

    Args:
        files: what the parser told apart (``request.FILES``); REST framework has put it among the data as well.
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
    """Return the URLconf that a middleware gave the request; None for the project's own, whatever its name is then."""
    own = getattr(request, "urlconf", None)
    return own if own is None or isinstance(own, str) else own.__name__


def restore_data(stored: Mapping[str, Any] | None) -> Any:
    """Return what a parser gave when the request was accepted; files apart from fields."""
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
    """Run the view that accepted *job* and return what it answers, errors too.

    Raises:
        PermissionDenied: the owner is gone or inactive (403).
        Resolver404: the path leads nowhere any more.
    """
    stored = job.request
    before = get_script_prefix(), get_urlconf()
    set_script_prefix(stored["script_prefix"])
    set_urlconf(stored["urlconf"])
    try:
        with translation.override(stored["language"]), timezone.override(stored["time_zone"]):
            return _answer(job, stored)
    finally:
        set_script_prefix(before[0])
        set_urlconf(before[1])


def _answer(job: Job, stored: Mapping[str, Any]) -> Any:
    match = resolve(stored["path_info"], stored["urlconf"])
    accepting: Any = match.func
    request = _rebuild(job, stored)
    request.resolver_match = match
    view: Any = _replayed(accepting.cls)
    options = dict(accepting.initkwargs)
    actions = getattr(accepting, "actions", None)
    function = view.as_view(actions, **options) if actions else view.as_view(**options)
    function._non_atomic_requests = getattr(accepting, "_non_atomic_requests", set())
    # As the request itself would be, where a database has ATOMIC_REQUESTS.
    return BaseHandler().make_view_atomic(function)(request, *match.args, **match.kwargs)


def _rebuild(job: Job, stored: Mapping[str, Any]) -> HttpRequest:
    # Under ASGI too: the view reads a request, and the server that brought it is gone.
    environ = {
        **stored["meta"],
        "REQUEST_METHOD": stored["method"],
        "SCRIPT_NAME": _wsgi(stored["path"].removesuffix(stored["path_info"])),
        "PATH_INFO": _wsgi(stored["path_info"]),
        "wsgi.url_scheme": stored["scheme"],
        # Not empty where there was data, so that the parser is asked, which has the stored data.
        "CONTENT_LENGTH": "0" if job.input is None else "1",
        "wsgi.input": BytesIO(b"" if job.input is None else b" "),
    }
    request: Any = WSGIRequest(environ)
    if stored["urlconf"]:
        request.urlconf = stored["urlconf"]
    request.user = _owner(job)
    request.accept_job = job
    return cast(HttpRequest, request)


def _wsgi(path: str) -> str:
    """Return *path* as WSGI spells it: bytes in the guise of Latin-1 (PEP 3333)."""
    return path.encode().decode("latin-1")


def _owner(job: Job) -> Any:
    """Load the owner anew: who was deleted or locked out since may not act any more."""
    if job.anonymous:
        nobody: Any = api_settings.UNAUTHENTICATED_USER  # None where a project has none
        return nobody and nobody()
    user = get_user_model()._default_manager.filter(pk=job.owner_id).first() if job.owner_id else None
    if user is None or not user.is_active:
        raise PermissionDenied("The account that made this request may not act any more.")
    return user


class StoredData(BaseParser):
    """Gives a replayed request the data that was parsed when it was accepted."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return restore_data(uploads.restore(parser_context["request"].accept_job))


class Replayed:
    """Mixed before a view's class: the request was let in once, so it is neither authenticated nor throttled again."""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        rebuilt: Request = super().initialize_request(request, *args, **kwargs)  # type: ignore[misc]
        rebuilt.user = request.user
        # Whatever of these is missing, REST framework finds by authenticating again: without credentials, as nobody.
        rebuilt.auth = None
        rebuilt.authenticators = []
        rebuilt._authenticator = None  # type: ignore[attr-defined] # no setter
        return rebuilt

    def get_parsers(self) -> list[BaseParser]:
        return [StoredData()]

    def check_throttles(self, request: Request) -> None:
        """Counted when it was accepted."""


@lru_cache(maxsize=1024)
def _replayed(view: type[APIView]) -> type[APIView]:
    return type(view.__name__, (Replayed, view), {"__module__": view.__module__, "__doc__": view.__doc__})
