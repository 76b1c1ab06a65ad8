"""Keep at accept what the worker needs to rebuild the request: its address, its headers and what is global then."""

from collections.abc import Iterable
from functools import cache
from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured
from django.http.request import HttpHeaders
from rest_framework.request import Request
from rest_framework.settings import api_settings

from .. import encoding
from ..exceptions import Unencodable
from ..querysets import user_model
from . import values
from .circumstances import capture_circumstances
from .rebuilt import OF_USER, missing_from, names_on, names_on_user
from .variables import variables

__all__ = ["authenticator_path", "capture", "note_names"]

#: What is kept of the request's META beside HTTP headers: what servers set. No environment variables, which some
#: servers mix in, and no objects.
SERVER_META = (
    *("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH"),
    *("SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "SERVER_SOFTWARE", "GATEWAY_INTERFACE"),
    # For the project's permissions and records; this package does not use them.
    *("REMOTE_ADDR", "REMOTE_HOST", "REMOTE_PORT", "REMOTE_USER"),
    *("wsgi.url_scheme", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once"),
)
#: What is kept of ``request.META``: what the server says, and the headers that decide URLs, content and conditions. No
#: cookies, and no authorization.
KEPT_META = (
    *SERVER_META,
    *("HTTP_HOST", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PROTO"),
    *("HTTP_X_FORWARDED_FOR", "HTTP_USER_AGENT", "HTTP_ORIGIN", "HTTP_X_REQUESTED_WITH"),
    *("HTTP_ACCEPT", "HTTP_ACCEPT_LANGUAGE", "HTTP_PREFER"),
    *("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE"),
    *("HTTP_X_REQUEST_ID", "HTTP_TRACEPARENT", "HTTP_TRACESTATE"),
)


def note_names(request: Request) -> None:
    """Remember what middleware and authentication have put on *request* and its user. Call it after the authentication.

    Nothing is remembered if the view authenticates later, when somebody asks for the user.
    """
    user = vars(request).get("_user", request)
    if user is not request:
        request._accept_names = _names(request, user)  # type: ignore[attr-defined]


def _names(request: Request, user: Any) -> list[str]:
    return names_on(request) + [OF_USER + name for name in names_on_user(user)]


def capture(request: Request, headers: Iterable[str] = (), context: Any = None) -> dict[str, Any]:
    """Return what is needed to rebuild *request*, without its data.

    Args:
        headers: the names of further headers to keep.
        context: what the view keeps of its request, in a form that JSON can hold.

    Raises:
        ImproperlyConfigured: the time zone or a URLconf cannot be kept, or the path leads to another view.
    """
    django_request = request._request
    _check_route(request)
    kept = [*KEPT_META, *map(_meta_name, headers)]
    found = {name: django_request.META[name] for name in kept if name in django_request.META}
    meta = {name: value if isinstance(value, str | int) else str(value) for name, value in found.items()}
    names = vars(request).get("_accept_names")
    return {
        "method": request.method,
        "path": django_request.path,
        "path_info": django_request.path_info,
        "scheme": django_request.scheme,
        "encoding": django_request.encoding,
        "meta": meta,
        "kwargs": _kwargs(request),
        **capture_circumstances(django_request),
        "missing": missing_from(request, _names(request, request.user) if names is None else names),
        "found": _found_on(request),
        "authenticator": authenticator_path(request.successful_authenticator),
        "context": context,
        "variables": variables(),
    }


def _check_route(request: Request) -> None:
    """See that the path of *request* leads to its view: in the worker, nothing else does.

    Raises:
        ImproperlyConfigured: it leads to something that has called the view; the text says what to write instead.
    """
    match, view = request._request.resolver_match, (request.parser_context or {}).get("view")
    if match is None or view is None:  # a test calls the view
        return
    kind, found = type(view), getattr(match.func, "cls", None)
    if found is kind:
        return
    leads_to = match.func if found is None else found
    name = getattr(leads_to, "__qualname__", type(leads_to).__qualname__)
    raise ImproperlyConfigured(
        f"The path of the request leads to {leads_to.__module__}.{name}, which calls {kind.__name__}. "
        "A worker could not find that view again. "
        "Put @functools.wraps(view) above the function that a decorator returns; "
        f"otherwise give the view a path of its own: path(..., {kind.__name__}.as_view())"
    )


def _meta_name(header: str) -> str:
    return str(HttpHeaders.to_wsgi_name(header))


def _kwargs(request: Request) -> dict[str, Any]:
    """Return what the view was called with; the ``process_view()`` of a middleware may have changed those of the path.

    None stands for one that cannot be kept: the path tells it again.
    """
    kept: dict[str, Any] = {}
    for name, value in _given_kwargs(request).items():
        try:
            kept[name] = [values.keep(value)]
            encoding.dumps(kept[name])
        except (ImproperlyConfigured, Unencodable):
            kept[name] = None
    return kept


def _given_kwargs(request: Request) -> dict[str, Any]:
    """Return the keyword arguments that the view's function got, before code of the view changed them."""
    noted = vars(request._request).get("accept_kwargs")
    if noted is not None:
        return cast(dict[str, Any], noted)
    # ``@accepts`` in a view without a mixin.
    match, context = request._request.resolver_match, request.parser_context or {}
    kind: Any = type(context.get("view"))
    if match is not None and _may_change_kwargs(kind):
        return match.kwargs
    return cast(dict[str, Any], context.get("kwargs", {}))


@cache
def _may_change_kwargs(view: type) -> bool:
    """Whether code of *view* gets its arguments before the handler does. If not, a decorator may have added some."""
    functions = [getattr(view, name, None) for name in ("setup", "dispatch", "initial")]
    packages = {each.__module__.partition(".")[0] for each in functions if each is not None}
    return not packages <= {"django", "rest_framework"}


def _found_on(request: Request) -> dict[str, Any]:
    """Return what Django's own middleware, and authentication, have put on *request*, in a form that JSON can hold."""
    there = vars(request._request)
    site = there.get("site")
    found = {
        "LANGUAGE_CODE": there.get("LANGUAGE_CODE"),
        "site": None if site is None else {"pk": getattr(site, "pk", None)},
        "auser": "auser" in there or None,
        **_kind_of(request.user),
    }
    return {name: value for name, value in found.items() if value is not None}


def _kind_of(user: Any) -> dict[str, str]:
    """Return what tells the class of *user*, if it is none of the usual two: the project's model, and that of nobody.

    ``user`` is a model that is a subclass of the project's, such as a proxy. ``anonymous`` is the class of an anonymous
    user; empty if it cannot be made again.
    """
    kind = getattr(user, "__class__", type(user))  # of a lazy user, too
    model = user_model()
    if kind is model or (user is None and api_settings.UNAUTHENTICATED_USER is None):
        return {}
    if issubclass(kind, model):
        return {"user": kind._meta.label}
    return {} if kind is api_settings.UNAUTHENTICATED_USER else {"anonymous": _path_of_nobody(user, kind)}


def _path_of_nobody(user: Any, kind: type) -> str:
    path = values.class_path(kind)
    try:
        return path if path and vars(kind()) == vars(user) else ""
    except TypeError:
        return ""


def authenticator_path(authenticator: Any) -> str | None:
    """Return the dotted path of the class of *authenticator*; None for None."""
    kind = type(authenticator)
    return None if authenticator is None else f"{kind.__module__}.{kind.__qualname__}"
