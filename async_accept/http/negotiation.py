"""Which representation a client gets: what it prefers by the weights of ``Accept`` (RFC 9110, section 12.5.1).

REST framework looks at how specific a range is, never at its ``q``: it answers in JSON where ``application/json;q=0``
rules that out.
"""

from collections.abc import Iterable

from django.http.request import MediaType
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.utils.mediatypes import media_type_matches

__all__ = ["WeighedNegotiation", "admits"]

#: Longer lists, and longer names, are nobody's preference.
MAX_RANGES = 64
MAX_RANGE_CHARS = 256


class WeighedNegotiation(DefaultContentNegotiation):
    """Chooses the renderer that weighs most; of equals the one that is named more closely, then the first.

    Raises:
        NotAcceptable: every renderer is ruled out (406).
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
        # Not every release of REST framework has bounds, and Django refuses to read a very long one.
        ranges = super().get_accept_list(request)[:MAX_RANGES]
        return [text for text in ranges if len(text) <= MAX_RANGE_CHARS]


def admits(request: Request, media_type: str) -> bool:
    """Tell whether the client takes *media_type* at all."""
    quality, _ = _weight(media_type, WeighedNegotiation().get_accept_list(request))
    return quality > 0


def _weight(media_type: str, ranges: list[str]) -> tuple[float, int]:
    """Return what the most specific range that matches says, and how specific it is; 0 where none does."""
    matching = [MediaType(text) for text in ranges if media_type_matches(media_type, text)]
    specificity, quality = max(((found.specificity, found.quality) for found in matching), default=(0, 0.0))
    return (quality if quality > 0 else 0.0, specificity)  # q=nan is no weight
