import json
from decimal import Decimal
from typing import Any

from rest_framework.parsers import BaseParser, JSONParser

from .renderers import renamed, snake_case


class CamelCaseParser(JSONParser):
    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return renamed(super().parse(stream, media_type, parser_context), snake_case)


class ExactParser(JSONParser):
    """Money is never a float."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return json.loads(stream.read(), parse_float=Decimal)


class RawParser(BaseParser):
    """Whatever the machines in the warehouse send."""

    media_type = "application/x-raw"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> bytes:
        raw: bytes = stream.read()
        return raw
