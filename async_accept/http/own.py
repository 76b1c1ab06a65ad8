"""Responses that are ours: their renderer is one of ``RENDERER_CLASSES``, whatever view they leave by.

REST framework gives a response the renderer of its view when the view finalizes it. A view that makes PDF files, or
tables in CSV, cannot render a status document; and a client that follows wants the same document everywhere.
"""

import logging
from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.response import Response

from .monitor import for_renderer
from .negotiation import choose, offered, spoken
from .renderers import EventStreamRenderer, PlainJSONRenderer

__all__ = ["OwnResponse", "Promise"]

logger = logging.getLogger(__name__)


class OwnResponse(Response):
    """A document of ours: a status document or a problem."""

    #: The content type of the document as JSON; None for that of the renderer.
    json_type: str | None = None
    #: What the view gives a response: itself, its request and its renderer.
    renderer_context: dict[str, Any]

    def __init__(self, document: Any, **options: Any) -> None:
        super().__init__(document, **options)
        #: What is rendered. A view may add members to ``data``; it cannot take any away, nor wrap it.
        self.document = document

    @property
    def accepted_renderer(self) -> Any:
        return self._choice()[0]

    @accepted_renderer.setter
    def accepted_renderer(self, renderer: Any) -> None:
        self.given = renderer

    @property
    def accepted_media_type(self) -> Any:
        return self._choice()[1]

    @accepted_media_type.setter
    def accepted_media_type(self, media_type: Any) -> None:
        self.given_media_type = media_type

    def _choice(self) -> tuple[Any, str]:
        """Return our renderer for this request, and its media type with the client's parameters."""
        # Raises AttributeError until the view has finalized the response, as REST framework's response does.
        context, given = self.renderer_context, self.given
        if getattr(context["view"], "is_ours", False):
            return given, self.given_media_type
        if "_chosen" not in vars(self):
            self._chosen = choose(context["request"], browsable=isinstance(given, BrowsableAPIRenderer))
        return self._chosen

    def shown_by(self, view: Any) -> Any:
        """Return the renderer of the document in a page of the browsable API."""
        return offered()[0]()

    @property
    def rendered_content(self) -> Any:
        if self.data is not self.document and not _extends(self.data, self.document):
            self.data = self.document
        renderer = self.accepted_renderer
        if isinstance(renderer, EventStreamRenderer):
            # A client that asked for a stream, and gets a problem.
            renderer = self.given = spoken(self.renderer_context["request"])
            self.given_media_type = renderer.media_type
        job = getattr(self, "job", None)
        if job is not None and isinstance(self.data, dict):
            self.data = for_renderer(renderer, self.data, job, self.renderer_context["request"])
        if renderer.media_type.endswith("json") and self.json_type:
            self.content_type = self.json_type
        return super().rendered_content


def _extends(data: Any, document: Any) -> bool:
    if not isinstance(data, Mapping) or not isinstance(document, Mapping):
        return False
    return all(name in data and data[name] == value for name, value in document.items())


class Promise(OwnResponse):
    """The 202 of an accepted request: once the job is stored, no renderer may keep it from the client."""

    @property
    def rendered_content(self) -> Any:
        try:
            return super().rendered_content
        except Exception:
            logger.exception("A renderer failed on a 202, which is sent as plain JSON.")
            self.given, self.given_media_type = PlainJSONRenderer(), PlainJSONRenderer.media_type
            self._chosen = self.given, self.given_media_type
            self.content_type = None
            return super().rendered_content
