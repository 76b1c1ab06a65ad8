"""What the company's clients read: camel case, an envelope, tables, spreadsheets and letters."""

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from xml.etree import ElementTree

from rest_framework.renderers import BaseRenderer, JSONRenderer

_AFTER_LETTER = re.compile(r"(?<=[a-z0-9])_([a-z0-9])")
_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def camel_case(name: str) -> str:
    return _AFTER_LETTER.sub(lambda match: match[1].upper(), name)


def snake_case(name: str) -> str:
    return _CAPITAL.sub(lambda match: f"_{match[1].lower()}", name)


def renamed(value: Any, name: Callable[[str], str]) -> Any:
    """Return *value* with every key in it named anew."""
    if isinstance(value, Mapping):
        return {name(str(key)): renamed(item, name) for key, item in value.items()}
    return [renamed(item, name) for item in value] if isinstance(value, list | tuple) else value


class CamelCaseRenderer(JSONRenderer):
    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        told: bytes = super().render(renamed(data, camel_case), accepted_media_type, renderer_context)
        return told


class EnvelopeRenderer(CamelCaseRenderer):
    """The company's default: ``{"data": …, "meta": …}`` around what is no error."""

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        context = renderer_context or {}
        response = context.get("response")
        if data is not None and response is not None and response.status_code < 400:
            meta = {"status": response.status_code, "api_version": context["request"].version}
            data = {"data": data, "meta": meta}
        return super().render(data, accepted_media_type, renderer_context)


def _rows(data: Any) -> Iterable[Mapping[str, Any]]:
    return data if isinstance(data, list) else [data]


class CSVRenderer(BaseRenderer):
    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> str:
        if data is None:
            return ""
        text = io.StringIO()
        rows = list(_rows(data))
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


class OfficeCSVRenderer(CSVRenderer):
    """For a spreadsheet that knows no Unicode."""

    format = "csv-office"
    charset = "iso-8859-1"


class XMLRenderer(BaseRenderer):
    media_type = "application/xml"
    format = "xml"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> str:
        root = ElementTree.Element("root")
        _grow(root, data)
        return ElementTree.tostring(root, encoding="unicode")


def _grow(element: ElementTree.Element, data: Any) -> None:
    if isinstance(data, Mapping):
        for key, value in data.items():
            _grow(ElementTree.SubElement(element, str(key)), value)
    elif isinstance(data, list | tuple):
        for value in data:
            _grow(ElementTree.SubElement(element, "item"), value)
    elif data is not None:
        element.text = str(data)


class XLSXRenderer(BaseRenderer):
    """A workbook of one sheet; it is a ZIP archive, without any time in it."""

    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    format = "xlsx"
    charset = None
    render_style = "binary"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        book = io.BytesIO()
        with zipfile.ZipFile(book, "w") as archive:
            archive.writestr(zipfile.ZipInfo("xl/worksheets/sheet1.xml"), XMLRenderer().render(data))
        return book.getvalue()


class PDFRenderer(BaseRenderer):
    """A letter: it wants a title, and knows nothing else."""

    media_type = "application/pdf"
    format = "pdf"
    charset = None
    render_style = "binary"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        error = data.get("error")
        title = error["message"] if error else data["title"]
        return b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + str(title).encode("utf-16-be") + b"\n%%EOF\n"
