"""Which representations an endpoint offers, and which of them a client gets.

The client gets what it prefers by the weights of ``Accept`` (RFC 9110, section 12.5.1). REST framework alone ignores
weights: it answers in JSON even if the client rules that out by ``application/json;q=0``.
"""

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

from django.apps import apps
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import setting_changed
from django.http import Http404
from django.http.request import MediaType
from django.template import engines
from django.utils.module_loading import import_string
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.utils.mediatypes import media_type_matches

from ..conf import conf
from .renderers import (
    DIALECT,
    AcceptBrowsableAPIRenderer,
    DialectRenderer,
    EventStreamRenderer,
    JobPageRenderer,
    PlainJSONRenderer,
)

__all__ = [
    "AnyNegotiation",
    "UnknownFormat",
    "WeighedNegotiation",
    "admits",
    "can_stream",
    "choose",
    "offered",
    "spoken",
    "with_panel",
]

#: Further ranges of a header are ignored, and so are longer ones.
MAX_RANGES = 64
MAX_RANGE_CHARS = 256
HTML = JobPageRenderer.media_type


# --- What is offered ---------------------------------------------------------------------------------------


def offered(*, page: bool = False, stream: bool = False) -> list[type[BaseRenderer]]:
    """Return the renderers that an endpoint of jobs offers: ``RENDERER_CLASSES``, and what is there in any case.

    A client that asks for nothing special gets the first one. HTML comes after everything else.

    Args:
        page: offer the status page, before other HTML.
        stream: offer server-sent events, last.
    """
    return [*_offered(tuple(conf.RENDERER_CLASSES), page), *([EventStreamRenderer] if stream else [])]


@lru_cache(maxsize=64)
def _offered(named: tuple[Any, ...], page: bool) -> list[type[BaseRenderer]]:
    usable = with_panel(import_string(each) if isinstance(each, str) else each for each in named)
    others = [renderer for renderer in usable if renderer.media_type != HTML] or [PlainJSONRenderer]
    html = [renderer for renderer in usable if renderer.media_type == HTML and _has_templates(renderer)]
    pages = [JobPageRenderer] if page and engines.templates else []
    return [*others, DialectRenderer, *pages, *html]


def _has_templates(renderer: type[BaseRenderer]) -> bool:
    """Whether the project has the templates of the browsable API, if *renderer* is one."""
    return not issubclass(renderer, BrowsableAPIRenderer) or bool(
        engines.templates and apps.is_installed("rest_framework")
    )


def _settings_changed(**changed: Any) -> None:
    _offered.cache_clear()


setting_changed.connect(_settings_changed)


def with_panel(renderers: Iterable[Any]) -> list[Any]:
    """Replace REST framework's ``BrowsableAPIRenderer`` by ours, as a class or an instance; subclasses stay."""
    changed: list[Any] = []
    for renderer in renderers:
        if renderer is BrowsableAPIRenderer:
            changed.append(AcceptBrowsableAPIRenderer)
        elif type(renderer) is BrowsableAPIRenderer:
            changed.append(AcceptBrowsableAPIRenderer())
        else:
            changed.append(renderer)
    return changed


def can_stream(request: Any) -> bool:
    """Tell whether this server can hold streams: on ASGI a stream costs a coroutine, on WSGI a thread."""
    return isinstance(getattr(request, "_request", request), ASGIRequest)


# --- What the client gets ----------------------------------------------------------------------------------


class UnknownFormat(NotAcceptable):
    """404, as REST framework answers: the URL with that format does not exist. The job may."""

    status_code = 404
    default_code = "unknown_format"
    default_detail = "There is no such format."


class WeighedNegotiation(DefaultContentNegotiation):
    """Chooses the renderer with the highest weight; among equals the one named most precisely, then the first.

    ``?dialect=async-accept`` chooses our own JSON, whatever ``Accept`` says: an ``EventSource`` cannot send it.

    Raises:
        NotAcceptable: the client rules out every renderer (406).
        UnknownFormat: it asks for a format that none of them has (404).
    """

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderers = list(renderers)
        if request.query_params.get(DIALECT) == DialectRenderer.format:
            for renderer in renderers:
                if isinstance(renderer, DialectRenderer):
                    return renderer, renderer.media_type
        override = self.settings.URL_FORMAT_OVERRIDE
        if name := format_suffix or (override and request.query_params.get(override)):
            try:
                renderers = self.filter_renderers(renderers, name)
            except Http404:
                raise UnknownFormat from None
        return _by_accept(request, renderers)

    def get_accept_list(self, request: Request) -> list[str]:
        # Some releases of REST framework have no bounds, and Django refuses to parse a very long range.
        ranges = super().get_accept_list(request)
        if not any(ranges) and not request.META.get("HTTP_ACCEPT", "").strip(" \t,"):
            return [
                "*/*"
            ]  # empty members count for nothing (RFC 9110, section 5.6.1.2): nothing is ruled out
        return [text for text in ranges[:MAX_RANGES] if len(text) <= MAX_RANGE_CHARS]


class AnyNegotiation(WeighedNegotiation):
    """As ``WeighedNegotiation``, but never 406, nor 404 for an unknown format: the first one if nothing fits."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderers = list(renderers)
        with suppress(NotAcceptable):
            return super().select_renderer(request, renderers, format_suffix)
        with suppress(NotAcceptable):
            return _by_accept(request, renderers)  # without a format, which is the view's
        return renderers[0], renderers[0].media_type


def _by_accept(request: Request, renderers: list[BaseRenderer]) -> tuple[BaseRenderer, str]:
    """Return the renderer that ``Accept`` chooses, and its media type with the client's parameters.

    Raises:
        NotAcceptable: it rules out every one.
    """
    found = _best(request.META.get("HTTP_ACCEPT"), tuple(map(_media_type, renderers)))
    if found is None:
        raise NotAcceptable(available_renderers=renderers)
    place, media_type = found
    return renderers[place], media_type


_media_type = attrgetter("media_type")


@lru_cache(maxsize=128)  # most clients send one of few headers
def _best(accept: str | None, media_types: tuple[str, ...]) -> tuple[int, str] | None:
    """Return the place of the best media type, and how it is answered; None if the header rules out every one."""
    headers = {} if accept is None else {"accept": accept}
    asked: Any = SimpleNamespace(META={"HTTP_ACCEPT": accept or ""}, headers=headers, query_params={})
    ranges = _ranges(asked)
    (quality, _), place = max(
        ((_weight(media_type, ranges), place) for place, media_type in enumerate(media_types)),
        key=lambda weighed: weighed[0],
    )
    if not quality:
        return None
    best: Any = SimpleNamespace(media_type=media_types[place])
    # REST framework says which of the client's parameters the answer names.
    _, media_type = DefaultContentNegotiation.select_renderer(WeighedNegotiation(), asked, [best])
    return place, media_type


def choose(request: Request, *, browsable: bool = False) -> tuple[BaseRenderer, str]:
    """Return the renderer of a document of ours for *request*, and its media type; the first one if nothing fits.

    Args:
        browsable: HTML is the browsable API, not the status page.
    """
    kinds = offered(page=True)
    if browsable:
        kinds = [kind for kind in kinds if kind.media_type != HTML] + [AcceptBrowsableAPIRenderer]
    return AnyNegotiation().select_renderer(request, [kind() for kind in kinds])


def spoken(request: Request) -> BaseRenderer:
    """Return the renderer that a poll like *request* gets, without HTML: events speak the same dialect."""
    asked = _weight(DialectRenderer.media_type, [each for each in _ranges(request) if "*" not in each])
    if asked > (0, 0) or request.query_params.get(DIALECT) == DialectRenderer.format:
        return DialectRenderer()
    return offered()[0]()


def _ranges(request: Request) -> list[str]:
    return WeighedNegotiation().get_accept_list(request)


def admits(request: Request, media_type: str) -> bool:
    """Tell whether the client accepts *media_type* at all."""
    quality, _ = _weight(media_type, _ranges(request))
    return quality > 0


def _weight(media_type: str, ranges: Iterable[str]) -> tuple[float, int]:
    """Return the weight of *media_type*, and how precisely it is named; 0 if no range matches.

    The most precise range that matches counts.
    """
    matching = [MediaType(text) for text in ranges if media_type_matches(media_type, text)]
    specificity, quality = max(((found.specificity, found.quality) for found in matching), default=(0, 0.0))
    return (quality if quality > 0 else 0.0, specificity)  # q=nan counts as 0
