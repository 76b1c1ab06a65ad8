"""Keep at accept what the worker needs to rebuild the request: its address, its headers and what is global then."""

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.urls import get_script_prefix
from django.utils import timezone, translation
from rest_framework.request import Request

from .rebuilt import missing_from, names_on
from .variables import variables

__all__ = ["capture", "class_path", "note_names"]

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
        "urlconf": _own_urlconf(django_request),
        "language": translation.get_language(),
        "time_zone": timezone.get_current_timezone_name(),
        "missing": missing_from(request, names_on(request) if names is None else names),
        "found": _found_on(django_request),
        "authenticator": class_path(request.successful_authenticator),
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


def class_path(authenticator: Any) -> str | None:
    """Return the dotted path of the class of *authenticator*; None for None."""
    kind = type(authenticator)
    return None if authenticator is None else f"{kind.__module__}.{kind.__qualname__}"


def _own_urlconf(request: HttpRequest) -> str | None:
    """Return the name of the URLconf that a middleware set; None for the project's own, which may be renamed."""
    own = getattr(request, "urlconf", None)
    return own if own is None or isinstance(own, str) else own.__name__
