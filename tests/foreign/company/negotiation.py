from collections.abc import Sequence
from typing import Any

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer


class FirstOfAll(BaseContentNegotiation):
    """Takes the view's first parser and renderer, whatever the client says."""

    def select_parser(self, request: Any, parsers: Sequence[Any]) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Any, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type
