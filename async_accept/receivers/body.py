"""The bytes that were signed, also if a middleware has read ``request.POST`` before the view.

Django keeps the bytes of every body but a multipart one: that is parsed from the server's stream as it comes. Under
ASGI the stream is a file, which can be read again. Under WSGI it cannot. So in a project that has receivers, the stream
of a small multipart request remembers what was read from it.
"""

import logging
from collections.abc import Iterator
from io import SEEK_END, BytesIO
from tempfile import SpooledTemporaryFile
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import request_started
from django.http import HttpRequest, RawPostDataException, UnreadablePostError

from ..conf import conf
from ..exceptions import InputTooLarge, LengthRequired, NotVerified, Unavailable
from ..http.body import number_of

__all__ = ["read_body", "remember_bodies"]

logger = logging.getLogger(__name__)

#: The largest body that a receiver of this process takes, if one says so.
_largest = 0


def read_body(request: HttpRequest, max_bytes: int) -> bytes:
    """Return the body of *request*, byte for byte.

    Raises:
        InputTooLarge: it is longer than *max_bytes* (413); one whose length is told is not read.
        LengthRequired: its length is not told, and the server cannot hand it over (411).
        NotVerified: its length is no number, or the sender has not sent all of it (401).
        Unavailable: somebody has read it, and it is lost (503).
    """
    if _length(request) > max_bytes:
        raise InputTooLarge
    try:
        body = request.body
    except RequestDataTooBig as error:
        raise InputTooLarge from error
    except UnreadablePostError as error:
        raise NotVerified from error
    except RawPostDataException:
        body = _read_again(request)
    if len(body) > max_bytes:
        raise InputTooLarge
    return body


def _length(request: HttpRequest) -> int:
    """Return the length of the body as it is told; that of an ASGI body without one (chunked) is measured.

    Raises:
        LengthRequired: there is a body that Django's WSGI handler does not hand over (411).
        NotVerified: it is no number (401).
    """
    told = str(request.META.get("CONTENT_LENGTH") or "")
    if told:
        if not (told.isascii() and told.isdecimal()):
            raise NotVerified
        return number_of(told)
    if isinstance(request, ASGIRequest):
        stream: Any = request._stream
        if not _can_seek(stream):
            return 0
        place = stream.tell()
        size = int(stream.seek(0, SEEK_END))
        stream.seek(place)
        return size
    if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        raise LengthRequired
    return 0


def _read_again(request: HttpRequest) -> bytes:
    stream: Any = getattr(request, "_stream", None)
    if isinstance(request, ASGIRequest) and _can_seek(stream):
        stream.seek(0)
        return bytes(stream.read())
    remembering = request.META.get("wsgi.input")
    if isinstance(remembering, Remembering):
        return remembering.all(_length(request))
    logger.error(
        "The body of a request to %s was read before the receiver could verify it. Let no middleware read from the "
        "request, or put it below the view.",
        request.path,
    )
    raise Unavailable


def _can_seek(stream: Any) -> bool:
    """Tell whether *stream* is the file of an ASGI server, still open. That of Django's test client is none."""
    return not getattr(stream, "closed", True) and isinstance(stream, SpooledTemporaryFile | BytesIO)


class Remembering:
    """A WSGI stream that keeps what was read from it (PEP 3333).

    Args:
        most: how many bytes it keeps; further ones pass.
    """

    def __init__(self, stream: Any, most: int) -> None:
        self.stream = stream
        self.left = most
        self.kept: list[bytes] = []

    def read(self, *size: int) -> bytes:
        return self._keep(self.stream.read(*size))

    def readline(self, *size: int) -> bytes:
        return self._keep(self.stream.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return list(map(self._keep, self.stream.readlines(*hint)))

    def __iter__(self) -> Iterator[bytes]:
        return map(self._keep, self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _keep(self, data: bytes) -> bytes:
        if self.left > 0:
            self.kept.append(data[: self.left])
            self.left -= len(data)
        return data

    def all(self, length: int) -> bytes:
        """Return the first *length* bytes of the stream, those that were not read yet included."""
        missing = length - sum(map(len, self.kept))
        if missing > 0:
            self.read(missing)
        return b"".join(self.kept)[:length]


def remember_bodies(max_bytes: int | None) -> None:
    """Let multipart streams remember what is read from them, from now on, up to the size that a receiver takes.

    Args:
        max_bytes: what the receiver says; None: the setting.
    """
    global _largest
    _largest = max(_largest, max_bytes or 0)
    request_started.connect(_on_request, dispatch_uid="async_accept.receivers")


def _on_request(sender: Any, environ: dict[str, Any] | None = None, **kwargs: Any) -> None:
    if environ is None or not str(environ.get("CONTENT_TYPE", "")).lower().startswith("multipart/"):
        return
    length, most = str(environ.get("CONTENT_LENGTH") or ""), max(_largest, conf.MAX_INPUT_BYTES)
    if length.isdecimal() and number_of(length) <= most:
        environ["wsgi.input"] = Remembering(environ["wsgi.input"], most)
