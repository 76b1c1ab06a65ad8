"""Which representations an endpoint offers, and which of them a client gets.

The client gets what it prefers by the weights of ``Accept`` (RFC 9110, section 12.5.1). REST framework alone ignores
weights: it answers in JSON even if the client rules that out by ``application/json;q=0``.
"""

from collections.abc import Iterable
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http.request import MediaType
from django.template import engines
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer, TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.utils.mediatypes import media_type_matches

from .renderers import AcceptBrowsableAPIRenderer, EventStreamRenderer, JobPageRenderer

__all__ = ["WeighedNegotiation", "admits", "can_stream", "offered", "with_panel"]

#: Further ranges of a header are ignored, and so are longer ones.
MAX_RANGES = 64
MAX_RANGE_CHARS = 256


# --- What is offered ---------------------------------------------------------------------------------------


def offered(
    renderers: Iterable[BaseRenderer], *, page: bool = False, stream: bool = False
) -> list[BaseRenderer]:
    """Return what an endpoint of jobs offers, given the *renderers* of the project's own views.

    JSON comes first, so a client that asks for nothing special gets what every client knows. Renderers that need a
    template of the view are left out.

    Args:
        page: offer the status page, before other HTML, and all HTML after everything else.
        stream: offer server-sent events, last.
    """
    usable = [
        renderer for renderer in with_panel(renderers) if not isinstance(renderer, TemplateHTMLRenderer)
    ]
    json = [renderer for renderer in usable if renderer.media_type == JSONRenderer.media_type]
    others = [renderer for renderer in usable if renderer not in json]
    if page:
        html = [renderer for renderer in others if renderer.media_type == JobPageRenderer.media_type]
        pages = [JobPageRenderer()] if engines.templates else []
        others = [*(renderer for renderer in others if renderer not in html), *pages, *html]
    return [*(json or [JSONRenderer()]), *others, *([EventStreamRenderer()] if stream else [])]


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

    Raises:
        NotAcceptable: the client rules out every renderer (406).
    """

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
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


def admits(request: Request, media_type: str) -> bool:
    """Tell whether the client accepts *media_type* at all."""
    quality, _ = _weight(media_type, WeighedNegotiation().get_accept_list(request))
    return quality > 0


def _weight(media_type: str, ranges: list[str]) -> tuple[float, int]:
    """Return the weight of *media_type*, and how precisely it is named; 0 if no range matches.

    The most precise range that matches counts.
    """
    matching = [MediaType(text) for text in ranges if media_type_matches(media_type, text)]
    specificity, quality = max(((found.specificity, found.quality) for found in matching), default=(0, 0.0))
    return (quality if quality > 0 else 0.0, specificity)  # q=nan counts as 0
