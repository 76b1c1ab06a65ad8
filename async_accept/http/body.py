"""The body of a request that is to be accepted: its length before it is read, and its depth after that."""

from io import SEEK_END
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from rest_framework.exceptions import ParseError
from rest_framework.parsers import FileUploadParser, MultiPartParser
from rest_framework.request import Request

from .. import encoding
from ..exceptions import LengthRequired
from .generic import VERBS

__all__ = ["check_depth", "is_upload", "length_bytes", "number_of"]


def check_depth(request: Request) -> None:
    """Refuse data that are nested too deeply to be stored.

    Raises:
        ParseError: they are (400).
    """
    try:
        deep = encoding.is_deep(request.data)
    except RecursionError:
        deep = True
    if deep:
        raise ParseError(f"The request is nested more than {encoding.DEPTH} levels deep.")


def is_upload(request: Request) -> bool:
    """Tell whether the body of *request* is read by a parser of files."""
    negotiator: Any = request.negotiator
    parser = negotiator.select_parser(request, request.parsers)
    return isinstance(parser, MultiPartParser | FileUploadParser)


def length_bytes(request: Request) -> int:
    """Return the length of the body as it was sent; an ASGI body without one (chunked) is measured.

    REST framework reads no body of length 0, and Django's WSGI handler hands over none without a length.

    Raises:
        LengthRequired: there is a body that cannot be read (411).
    """
    meta = request.META
    if not meta.get("CONTENT_LENGTH") and request.method in VERBS:
        stream: Any = request._request._stream
        if isinstance(request._request, ASGIRequest):
            meta["CONTENT_LENGTH"] = str(stream.seek(0, SEEK_END))
            stream.seek(0)
        elif "chunked" in meta.get("HTTP_TRANSFER_ENCODING", "").lower():
            raise LengthRequired
    length = str(meta.get("CONTENT_LENGTH") or "0")
    return number_of(length) if length.isdecimal() else 0


def number_of(digits: str) -> int:
    """Return *digits* as a number; one that has too many is large all the same, and zeros before it say nothing."""
    return int(digits.lstrip("0")[:20] or 0)
