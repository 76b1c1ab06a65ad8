"""Check of django-cors-headers, if the project has it: pages of other origins can send and read what a client needs.

A script of another origin reads only the headers that the server exposes, and sends only those that it allows (Fetch
standard, section 3.2). By its own defaults, django-cors-headers does neither with those that lead to a job.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.urls import NoReverseMatch, reverse

from .messages import TAG, warning

__all__ = ["ALLOWED", "EXPOSED", "check_cors"]

#: The settings that let in another origin, by their present names and by those of old.
ORIGINS = (
    *("CORS_ALLOWED_ORIGINS", "CORS_ALLOWED_ORIGIN_REGEXES", "CORS_ALLOW_ALL_ORIGINS"),
    *("CORS_ORIGIN_WHITELIST", "CORS_ORIGIN_REGEX_WHITELIST", "CORS_ORIGIN_ALLOW_ALL"),
)
#: The headers of a response that a script must read.
EXPOSED = (
    *("Location", "Operation-Location", "Content-Location", "Retry-After", "Link", "ETag"),
    *("Preference-Applied", "Sunset"),
)
#: The headers of a request that a script must send, besides those that django-cors-headers allows.
ALLOWED = ("idempotency-key", "prefer", "if-match", "if-none-match", "last-event-id")


@checks.register(TAG)
def check_cors(**kwargs: Any) -> list[checks.CheckMessage]:
    """W012: headers that pages of other origins cannot read or send. W013: job URLs that they cannot ask."""
    if not apps.is_installed("corsheaders") or not any(getattr(settings, name, None) for name in ORIGINS):
        return []
    return [*_check_headers(), *_check_urls()]


def _check_headers() -> Iterator[checks.CheckMessage]:
    if missing := _missing("CORS_EXPOSE_HEADERS", EXPOSED):
        yield warning(
            12,
            f"Pages of other origins cannot read {', '.join(missing)}, so their scripts cannot follow a 202.",
            f"CORS_EXPOSE_HEADERS = {[*getattr(settings, 'CORS_EXPOSE_HEADERS', ()), *missing]}",
        )
    if missing := _missing("CORS_ALLOW_HEADERS", ALLOWED):
        own = getattr(settings, "CORS_ALLOW_HEADERS", None)
        kept = "[*default_headers" if own is None else str([*own])[:-1]
        source = "  # from corsheaders.defaults import default_headers" if own is None else ""
        yield warning(
            12,
            f"Pages of other origins cannot send {', '.join(missing)}: the browser refuses their requests.",
            f"CORS_ALLOW_HEADERS = {kept}, {str(missing)[1:]}{source}",
        )


def _missing(setting: str, wanted: Iterable[str]) -> list[str]:
    """Return which of *wanted* the setting does not name. ``*`` means all, but not with credentials."""
    named = {name.lower() for name in getattr(settings, setting, ())}
    if "*" in named and not getattr(settings, "CORS_ALLOW_CREDENTIALS", False):
        return []
    return [name for name in wanted if name.lower() not in named]


def _check_urls() -> Iterator[checks.CheckMessage]:
    pattern = getattr(settings, "CORS_URLS_REGEX", "")
    try:
        path = reverse("async_accept:job-list")
    except NoReverseMatch:  # not mounted, or below a version: E003 tells the first
        return
    if not re.match(pattern, path):
        written = getattr(pattern, "pattern", pattern)
        yield warning(
            13,
            f"CORS_URLS_REGEX does not match {path}, so pages of other origins cannot follow a 202.",
            f'CORS_URLS_REGEX = r"{written}|^{path}"',
        )
