"""What is global while a request is handled: URLs, language and time zone. Kept at accept, and set for the replay."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.urls import ResolverMatch, get_script_prefix, get_urlconf, resolve, set_script_prefix, set_urlconf
from django.utils import timezone, translation

from . import values

__all__ = ["capture_circumstances", "circumstances", "resolved", "set_own_urlconf"]


def capture_circumstances(request: HttpRequest) -> dict[str, Any]:
    """Return what is global now, in a form that JSON can hold.

    Raises:
        ImproperlyConfigured: the current time zone, or a URLconf that middleware has set, cannot be found again.
    """
    own = getattr(request, "urlconf", None)
    kept = {
        "script_prefix": get_script_prefix(),
        "urlconf": _keep_urlconf(own) if own is not None or not hasattr(request, "urlconf") else NONE,
        "language": translation.get_language(),
        "time_zone": _time_zone(),
    }
    current = get_urlconf()
    if current not in (None, own, settings.ROOT_URLCONF):
        kept["current_urlconf"] = _keep_urlconf(current)
    return kept


@contextmanager
def circumstances(stored: Mapping[str, Any]) -> Iterator[None]:
    """Set what was global when the request was accepted."""
    before = get_script_prefix(), get_urlconf()
    zone = values.restore(stored["time_zone"])
    urlconf = _restore_urlconf(stored.get("current_urlconf", stored["urlconf"]))
    set_script_prefix(stored["script_prefix"])
    set_urlconf(urlconf)
    try:
        with translation.override(stored["language"]), timezone.override(zone):
            yield
    finally:
        set_script_prefix(before[0])
        set_urlconf(before[1])


def resolved(stored: Mapping[str, Any]) -> ResolverMatch:
    """Find the view of the request, as Django had found it.

    With ``i18n_patterns()`` the path has a language, which need not be the one that the view has activated.

    Raises:
        Resolver404: no route matches the path any more.
    """
    language = stored.get("found", {}).get("LANGUAGE_CODE") or stored.get("language")
    with translation.override(language):
        return resolve(stored["path_info"], _restore_urlconf(stored["urlconf"]) or settings.ROOT_URLCONF)


def set_own_urlconf(request: Any, stored: Mapping[str, Any]) -> None:
    """Set ``request.urlconf`` if middleware had done so."""
    if stored["urlconf"] is not None:
        request.urlconf = _restore_urlconf(stored["urlconf"])


def _time_zone() -> Any:
    """Return the time zone that middleware has activated: a key, or as ``values.keep()`` has it; None for none."""
    zone: Any = timezone.get_current_timezone()
    if zone is timezone.get_default_timezone():
        return None
    key = type(zone).__name__ == "ZoneInfo" and zone.key
    return key or values.keep(zone)


#: Middleware has set ``request.urlconf`` to None.
NONE = {"module": None}


def _keep_urlconf(urlconf: Any) -> Any:
    """Return *urlconf* in a form that JSON can hold; None for the project's own, which may be renamed."""
    if urlconf is None or isinstance(urlconf, str):
        return urlconf
    if isinstance(urlconf, ModuleType) and sys.modules.get(urlconf.__name__) is urlconf:
        return {"module": urlconf.__name__}
    if isinstance(urlconf, type) and (path := values.class_path(urlconf)):
        return {"class": path}
    raise ImproperlyConfigured(
        f"The URLconf that middleware has set, a {type(urlconf).__name__}, cannot be kept for the worker: "
        "set the name of a module, a module, or a class that stands in one."
    )


def _restore_urlconf(kept: Any) -> Any:
    if kept is None or isinstance(kept, str):
        return kept
    if "class" in kept:
        return values.load_class(kept["class"])
    return kept["module"] and import_module(kept["module"])
