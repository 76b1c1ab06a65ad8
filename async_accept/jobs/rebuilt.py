"""The request that a replayed view gets in the worker. Reading what it lacks is an error.

Middleware and authentication do not run in the worker. What they had put on the accepting request and on its user is
known by name only, unless the view keeps it (``get_accept_context()``). To read such a name raises ``NotKept``. That is
no AttributeError: ``getattr(request, "tenant", "public")`` must not mean another tenant.
"""

import sys
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from inspect import getattr_static
from io import BytesIO
from itertools import takewhile
from types import FunctionType
from typing import Any, cast

from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.utils.functional import LazyObject
from rest_framework.request import Request, is_form_media_type

from ..exceptions import NotKept
from .circumstances import set_own_urlconf

__all__ = [
    "OF_USER",
    "hand_on_forms",
    "missing_from",
    "names_on",
    "names_on_user",
    "rebuild",
    "without",
    "without_auth",
]

#: What Django and REST framework put on a request for themselves. The replay sets what a view may read of it.
THEIRS = frozenset(
    {
        *(
            "user",
            "auser",
            "auth",
            "session",
            "_messages",
            "site",
            "LANGUAGE_CODE",
            "urlconf",
            "resolver_match",
        ),
        *("_cached_user", "_acached_user", "_csp_nonce", "_cache_update_cache", "_is_ajax", "is_ajax"),
        *("csrf_processing_done", "csrf_cookie_needs_update", "csrf_cookie_needs_reset"),
        *("_dont_enforce_csrf_checks", "sensitive_post_parameters", "exception_reporter_filter"),
        *(
            "_force_auth_user",
            "_force_auth_token",
            "current_app",
            "_post",
            "_files",
            "_body",
            "_upload_handlers",
        ),
        *("accepted_renderer", "accepted_media_type", "version", "versioning_scheme"),
        *("accept_job", "accept_checks", "accept_transactions", "accept_kwargs", "accept_promise"),
    }
)

#: In the list of what is missing, the names of what was on the user begin with this.
OF_USER = "user."


# --- At accept ------------------------------------------------------------------------------------------------


def names_on(request: Request) -> list[str]:
    """Return the names of what middleware and authentication have put on *request*, beside what Django puts there.

    Permissions and the view put theirs there later, and do so again in the replay. On REST framework's own request they
    stand after what authentication sets last. On Django's, only a call right after the authentication tells them apart.
    Names that begin with an underscore count on Django's request only.
    """
    django_request, blank = request._request, _blank()
    own = vars(request).keys() - vars(blank).keys() - THEIRS
    if own:
        own &= set(takewhile(lambda name: name != "_auth", vars(request)))
    names = vars(django_request).keys() - vars(blank._request).keys() - THEIRS
    names |= {name for name in own if not name.startswith("_")}
    return sorted(name for name in names if not hasattr(type(django_request), name))


@cache
def _blank() -> Any:
    """Return a request on which nobody has put anything: what it has, each request has."""
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    asgi = ASGIRequest(scope, BytesIO())
    asgi.__dict__.update(vars(WSGIRequest({"REQUEST_METHOD": "GET", "wsgi.input": BytesIO()})))
    return Request(asgi)


def names_on_user(user: Any) -> list[str]:
    """Return the names of what middleware and authentication have put on *user*.

    What the class keeps there itself is none of it: fields, ``cached_property``, and names that begin with an
    underscore, which are caches.
    """
    if isinstance(user, LazyObject):
        user = user._wrapped
    kind: Any = type(user)
    names = getattr(user, "__dict__", {}).keys() - _fields(kind)
    return sorted(name for name in names if name[0] != "_" and not _is_made_again(kind, name))


@cache
def _fields(user: Any) -> frozenset[str]:
    fields = user._meta.concrete_fields if hasattr(user, "_meta") else ()
    # The last one is django.contrib.auth's.
    return frozenset({*(field.attname for field in fields), "backend"})


def _is_made_again(kind: type, name: str) -> bool:
    """Whether *kind* has a descriptor of that name, such as a ``cached_property``, and no method."""
    found = getattr_static(kind, name, None)
    return hasattr(type(found), "__get__") and not isinstance(found, FunctionType)


def missing_from(request: Request, names: list[str]) -> list[str]:
    """Return the names of all that *request* has and its replay will not have: *names*, and what Django puts there."""
    django_request = request._request
    present = {
        "auth": request.auth is not None,
        "session": hasattr(django_request, "session"),
        "_messages": hasattr(django_request, "_messages"),
        "COOKIES": bool(django_request.META.get("HTTP_COOKIE")),
        "body": str(django_request.META.get("CONTENT_LENGTH") or "0") != "0",
    }
    return [*names, *(name for name, is_there in present.items() if is_there)]


# --- In the worker --------------------------------------------------------------------------------------------


class RebuiltRequest(WSGIRequest):
    """A WSGI request, even if the accepted one came by ASGI: a view reads both alike.

    Args:
        environ: what was kept of the META; what PEP 3333 demands is added.
        missing: the names of what the accepted request had and this one has not.
        scheme: ``http`` or ``https``, as the accepted request had it: a header may have said so that is not kept.
    """

    def __init__(self, environ: dict[str, Any], missing: frozenset[str], scheme: str) -> None:
        usual = {
            "QUERY_STRING": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": scheme,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        body = Unread() if "body" in missing else BytesIO()
        super().__init__({**usual, **environ, "wsgi.input": body})
        self._not_kept = missing
        self._scheme = scheme
        # Django asks whether a request has these. So they are there, and nothing can be done with them.
        if "session" in missing:
            self.session: Any = Missing("session")
        if "_messages" in missing:
            self._messages = MissingMessages("_messages")
        if "COOKIES" in missing and "HTTP_COOKIE" not in environ:
            self.COOKIES: Any = Missing("COOKIES")

    def _load_post_and_files(self) -> None:
        # Of a form, REST framework's request has what was parsed, and puts it here.
        parsed = self.__dict__.get("_accept_parsed")
        if parsed is not None and self.method == "POST" and is_form_media_type(parsed.content_type):
            parsed._load_data_and_files()
        else:
            super()._load_post_and_files()

    def _get_scheme(self) -> str:
        return self._scheme

    def __getattr__(self, name: str) -> Any:
        # Only called for what is not there.
        if name in self.__dict__.get("_not_kept", ()):
            raise NotKept(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def rebuild(stored: Mapping[str, Any], meta: Mapping[str, Any]) -> RebuiltRequest:
    """Return a request with *meta*, to the path that is *stored*. Its CSRF token was checked by an earlier request."""
    environ = {
        "REQUEST_METHOD": stored["method"],
        **meta,
        "SCRIPT_NAME": _wsgi(stored["path"].removesuffix(stored["path_info"])),
        "PATH_INFO": _wsgi(stored["path_info"]),
    }
    request: Any = RebuiltRequest(environ, frozenset(stored.get("missing", ())), stored["scheme"])
    set_own_urlconf(request, stored)
    request.csrf_processing_done = True
    return cast(RebuiltRequest, request)


def hand_on_forms(request: Request) -> None:
    """Let Django's request find a form that only *request*, REST framework's own, can parse again."""
    request._request._accept_parsed = request  # type: ignore[attr-defined]


def _wsgi(path: str) -> str:
    """Return *path* as WSGI wants it: its UTF-8 bytes decoded as Latin-1 (PEP 3333)."""
    return path.encode().decode("latin-1")


class Missing:
    """Stands for something that is not kept; whatever is done with it raises ``NotKept``."""

    _missing: str

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_missing", name)

    def _raise(self, *args: Any, **kwargs: Any) -> Any:
        raise NotKept(self._missing)

    __getattr__ = __setattr__ = __delattr__ = _raise
    __getitem__ = __setitem__ = __delitem__ = __contains__ = _raise
    __iter__ = __len__ = __bool__ = __eq__ = __call__ = __str__ = __format__ = _raise
    __hash__ = object.__hash__


class MissingMessages(Missing):
    """As ``Missing``, but it can be shown: a template that the view renders asks for messages, and there are none."""

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0

    __bool__ = __len__


class Unread(BytesIO):
    """Stands for the body, which was parsed when the request was accepted."""

    def _raise(self, *args: Any, **kwargs: Any) -> Any:
        raise NotKept("body")

    read = readline = readlines = read1 = readinto = __iter__ = __next__ = _raise


def without_auth(request: Any) -> None:
    """Let ``request.auth`` raise ``NotKept``, until somebody sets it."""
    kind: Any = type(request)
    request.__class__ = _without_auth(kind)
    request._auth = Missing("auth")


@cache
def _without_auth(kind: Any) -> Any:
    def read(self: Any) -> Any:
        if isinstance(self._auth, Missing):
            raise NotKept("auth")
        return self._auth

    members = {"__module__": kind.__module__, "auth": property(read, kind.auth.fset)}
    return type(kind.__name__, (kind,), members)


def without(user: Any, missing: Iterable[str]) -> Any:
    """Let reading these names on *user* raise ``NotKept``, until somebody sets them. It stays of its class."""
    names, kind = tuple(missing), cast(Any, type(user))
    if names and user is not None and kind is not Missing:
        user.__class__ = _without(kind, names)
    return user


@lru_cache(maxsize=256)
def _without(kind: Any, names: tuple[str, ...]) -> Any:
    members: dict[str, Any] = {name: NotKeptAttribute(name) for name in names}
    members |= {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    # Django asks an instance for its class, to send signals and to delete rows, and projects compare it.
    members["__class__"] = property(lambda self: kind, vars(object)["__class__"].__set__)
    # Not type(kind)(...), by which it would become a model of its own.
    return type.__new__(type(kind), kind.__name__, (kind,), members)


class NotKeptAttribute:
    """An attribute of the user that is not kept. It has no ``__set__``: what an instance has itself comes first."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, kind: Any = None) -> Any:
        if instance is None:
            return self
        raise NotKept(f"request.user.{self.name}")
