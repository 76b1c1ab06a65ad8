"""Which representations an endpoint offers, and which of them a client gets.

The client gets what it prefers by the weights of ``Accept`` (RFC 9110, section 12.5.1). REST framework alone ignores
weights: it answers in JSON even if the client rules that out by ``application/json;q=0``.
"""

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from django.apps import apps
from django.core.handlers.asgi import ASGIRequest
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


def offered(*, page: bool = False, stream: bool = False) -> list[BaseRenderer]:
    """Return what an endpoint of jobs offers: ``RENDERER_CLASSES``, and what is there in any case.

    A client that asks for nothing special gets the first one. HTML comes after everything else.

    Args:
        page: offer the status page, before other HTML.
        stream: offer server-sent events, last.
    """
    usable = [_class(renderer)() for renderer in conf.RENDERER_CLASSES]
    others = [renderer for renderer in usable if renderer.media_type != HTML] or [PlainJSONRenderer()]
    html = [renderer for renderer in usable if renderer.media_type == HTML and _has_templates(renderer)]
    pages = [JobPageRenderer()] if page and engines.templates else []
    streams = [EventStreamRenderer()] if stream else []
    return [*others, DialectRenderer(), *pages, *html, *streams]


@lru_cache(maxsize=64)
def _class(renderer: Any) -> Any:
    [kind] = with_panel([import_string(renderer) if isinstance(renderer, str) else renderer])
    return kind


def _has_templates(renderer: BaseRenderer) -> bool:
    """Whether the project has the templates of the browsable API, if *renderer* is one."""
    return not isinstance(renderer, BrowsableAPIRenderer) or bool(
        engines.templates and apps.is_installed("rest_framework")
    )


def with_panel(renderers: Iterable[Any]) -> list[Any]:
    """Replace REST framework's ``BrowsableAPIRenderer`` by ours, as a class or an instance; subclasses stay."""

    def swap(renderer: Any) -> Any:
        if renderer is BrowsableAPIRenderer:
            return AcceptBrowsableAPIRenderer
        return AcceptBrowsableAPIRenderer() if type(renderer) is BrowsableAPIRenderer else renderer

    return [swap(renderer) for renderer in renderers]


def can_stream(request: Any) -> bool:
    """Tell whether this server can hold streams: on ASGI a stream costs a coroutine, on WSGI a thread."""
    return isinstance(getattr(request, "_request", request), ASGIRequest)


# --- What the client gets ----------------------------------------------------------------------------------


class WeighedNegotiation(DefaultContentNegotiation):
    """Chooses the renderer with the highest weight; among equals the one named most precisely, then the first.

    ``?dialect=async-accept`` chooses our own JSON, whatever ``Accept`` says: an ``EventSource`` cannot send it.

    Raises:
        NotAcceptable: the client rules out every renderer (406).
    """

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderers = list(renderers)
        own = next((renderer for renderer in renderers if isinstance(renderer, DialectRenderer)), None)
        if own is not None and request.query_params.get(DIALECT) == DialectRenderer.format:
            return own, own.media_type
        override = self.settings.URL_FORMAT_OVERRIDE
        if name := format_suffix or (override and request.query_params.get(override)):
            renderers = self.filter_renderers(renderers, name)
        ranges = self.get_accept_list(request)
        weights = [(_weight(renderer.media_type, ranges), renderer) for renderer in renderers]
        (quality, _), best = max(weights, key=lambda weighed: weighed[0])
        if not quality:
            raise NotAcceptable(available_renderers=[*renderers])
        chosen: tuple[BaseRenderer, str] = super().select_renderer(request, [best], format_suffix)
        return chosen

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
        with suppress(NotAcceptable, Http404):
            return super().select_renderer(request, renderers, format_suffix)
        with suppress(NotAcceptable):
            # Without a format, which is the view's.
            bare: Any = SimpleNamespace(META=request.META, headers=request.headers, query_params={})
            return super().select_renderer(bare, renderers)
        return renderers[0], renderers[0].media_type


def choose(request: Request, *, browsable: bool = False, html: bool = True) -> tuple[BaseRenderer, str]:
    """Return the renderer of a document of ours for *request*, and its media type; the first one if nothing fits.

    Args:
        browsable: HTML is the browsable API, not the status page.
        html: offer HTML at all.
    """
    renderers: list[BaseRenderer] = [each for each in offered(page=True) if html or each.media_type != HTML]
    if browsable:
        renderers = [each for each in renderers if each.media_type != HTML] + [AcceptBrowsableAPIRenderer()]
    return AnyNegotiation().select_renderer(request, renderers)


def spoken(request: Request) -> BaseRenderer:
    """Return the renderer that a poll like *request* gets, without HTML: events speak the same dialect."""
    asked = _weight(DialectRenderer.media_type, [each for each in _ranges(request) if "*" not in each])
    if asked > (0, 0) or request.query_params.get(DIALECT) == DialectRenderer.format:
        return DialectRenderer()
    return offered()[0]


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
    return _weighed(media_type, tuple(ranges))


@lru_cache(maxsize=128)  # most clients send one of few headers
def _weighed(media_type: str, ranges: tuple[str, ...]) -> tuple[float, int]:
    matching = [MediaType(text) for text in ranges if media_type_matches(media_type, text)]
    specificity, quality = max(((found.specificity, found.quality) for found in matching), default=(0, 0.0))
    return (quality if quality > 0 else 0.0, specificity)  # q=nan counts as 0
