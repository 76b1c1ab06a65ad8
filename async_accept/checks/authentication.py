"""Check of authentication: who may send a request to an accepting view can follow it at the URLs of jobs."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.core import checks
from django.urls import get_resolver

from ..conf import conf
from ..decorators import decorated
from ..http.generic import VERBS
from ..http.options import accepting_handlers
from ..http.urlconf import mounts
from ..mixins import AcceptingView
from .messages import TAG, warning
from .views import Routed, routed_views

__all__ = ["check_authentication"]


@checks.register(TAG)
def check_authentication(**kwargs: Any) -> list[checks.CheckMessage]:
    """W011: a view that accepts takes credentials that the URLs of jobs do not know."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    patterns = get_resolver().url_patterns
    known = _known(patterns)
    if known is None:
        return []  # the URLs of jobs are not mounted (E003)
    missing: dict[Any, list[str]] = {}
    for route in routed_views(patterns):
        if _accepts(route):
            for kind in _authentication(route.view, route.options):
                if kind not in known:
                    missing.setdefault(kind, []).append(_path(route.view))
    if not missing:
        return []
    message = "Whoever sends a request with {} cannot follow it, because the URLs of jobs do not take {}."
    names = "; ".join(
        f"{kind.__name__} to {', '.join(dict.fromkeys(views))}" for kind, views in missing.items()
    )
    pronoun = "that" if len(missing) == 1 else "these"
    return [warning(11, message.format(names, pronoun), _line([*known, *missing]))]


def _known(patterns: Any) -> list[Any] | None:
    """Return the authentication classes of the URLs of jobs that a client is sent to; None if there are no such URLs.

    Where they are mounted several times, only what each of them takes is counted.
    """
    views = [mount.view for mount in mounts(patterns) if mount.is_reached]
    found = [list(_authentication(view.cls, view.initkwargs)) for view in views if hasattr(view, "cls")]
    if not found:
        return None
    return [kind for kind in found[0] if all(kind in kinds for kinds in found)]


def _authentication(view: Any, options: dict[str, Any]) -> Iterable[Any]:
    kinds: Iterable[Any] = options.get("authentication_classes", getattr(view, "authentication_classes", ()))
    return kinds


def _accepts(route: Routed) -> bool:
    """Whether one of the handlers of *route* can answer 202."""
    mode = route.options.get("accept_mode", getattr(route.view, "accept_mode", None)) or conf.ACCEPT_MODE
    mixed_in = accepting_handlers(route.view) if issubclass(route.view, AcceptingView) else set()
    for method, name in _handlers(route):
        handler = decorated(getattr(route.view, name, None))
        if handler is not None:
            own = handler.accept_options.get("mode") or mode
            if handler.accept_options.get("task") is not None or own != "never":
                return True
        elif mode != "never" and (name in mixed_in or method.lower() in mixed_in):
            return True
    return False


def _handlers(route: Routed) -> Iterator[tuple[str, str]]:
    """Yield the methods that can be accepted with the names of their handlers, as in ``AcceptingView.initial``."""
    for method, verb in VERBS.items():
        if route.actions is not None:
            if name := route.actions.get(method.lower()):
                yield method, name
        elif hasattr(route.view, method.lower()):
            yield method, method.lower()
            yield method, verb


def _path(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _line(kinds: list[Any]) -> str:
    """Return the setting that would do, as it is pasted."""
    paths = ", ".join(f'"{_path(kind)}"' for kind in kinds)
    entry = f'"AUTHENTICATION_CLASSES": [{paths}]'
    return (
        f"{entry},  # in ASYNC_ACCEPT"
        if getattr(settings, "ASYNC_ACCEPT", None)
        else f"ASYNC_ACCEPT = {{{entry}}}"
    )
