"""Received events: what a receiver keeps of a verified request, and what the work gets of it.

The body is kept byte for byte: as text if it is UTF-8 that a database can hold, else in base64. The work is either a
task, which gets the event as its only argument, or the receiver's ``handle()``, found by its route as Django finds it.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from django.http import HttpRequest, QueryDict
from django.utils.datastructures import CaseInsensitiveMapping

from .. import encoding
from ..exceptions import JobFailed
from ..models import Job
from .circumstances import capture_circumstances, circumstances, resolved

__all__ = ["HANDLE", "ReceivedEvent", "capture", "handle", "is_event", "receiver_of", "restore", "shown"]

#: The task of a job whose work is its receiver's ``handle()``.
HANDLE = "async_accept.handle"
#: What a stored value of an event's id is cut to.
ID_CHARS = 255
#: What is kept of the request beside the event: to find it in logs and traces.
KEPT_META = ("CONTENT_TYPE", "HTTP_X_REQUEST_ID", "HTTP_TRACEPARENT", "HTTP_TRACESTATE")
FORM = "application/x-www-form-urlencoded"


class ReceivedEvent:
    """One verified event, as the sender has sent it.

    Args:
        id: the sender's name for it, or ""; for people and for your records.
        body: the bytes that were verified.
        headers: the headers that the receiver keeps, by their names, whatever their case.
        path_kwargs: the arguments of the route, as text.
    """

    def __init__(
        self, id: str, body: bytes, headers: Mapping[str, str], path_kwargs: Mapping[str, str] | None = None
    ) -> None:
        self.id = id
        self.body = body
        self.headers: CaseInsensitiveMapping[str] = CaseInsensitiveMapping(headers)
        self.path_kwargs = dict(path_kwargs or {})
        #: The receiver could not read it: the worker reads it again, so that the job fails with that error.
        self.unread = False

    def __repr__(self) -> str:
        return f"<ReceivedEvent {self.id!r}, {len(self.body)} bytes>"  # never the body: it may be logged

    @property
    def content_type(self) -> str:
        """The media type in small letters, without parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @cached_property
    def data(self) -> Any:
        """The body as JSON.

        Raises:
            JobFailed: it is no JSON; the job fails with the problem ``event-unreadable`` (400), without retries.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise JobFailed("The event is no JSON.", code="event-unreadable", status=400) from error

    @cached_property
    def form(self) -> QueryDict:
        """The body as the fields of a form.

        Raises:
            JobFailed: it is no form, or not in UTF-8; as above.
        """
        try:
            return QueryDict(self.body.decode(), encoding="utf-8")
        except ValueError as error:
            raise JobFailed("The event is no form.", code="event-unreadable", status=400) from error

    def stored(self) -> dict[str, Any]:
        """Return the event as JSON that can be stored."""
        return {
            "id": self.id[:ID_CHARS],
            "body": _packed(self.body),
            "headers": dict(self.headers.items()),
            "path": self.path_kwargs,
        }


def _packed(body: bytes) -> dict[str, str]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    return {"base64": b64encode(body).decode()} if "\0" in text else {"text": text}


def _unpacked(body: Mapping[str, str]) -> bytes:
    return body["text"].encode() if "text" in body else b64decode(body["base64"])


def capture(request: HttpRequest, *, atomic: bool, unread: bool) -> dict[str, Any]:
    """Return what is needed to find the receiver again, and to tell where the event came in.

    Args:
        atomic: whether ``handle()`` and the end of its job commit together.
        unread: whether the receiver failed to read the event.
    """
    return {
        "receiver": True,
        "method": request.method,
        "path": request.path,
        "path_info": request.path_info,
        "meta": {name: encoding.text(value) for name in KEPT_META if (value := request.META.get(name))},
        **capture_circumstances(request),
        "atomic": atomic,
        "unread": unread,
    }


def is_event(job: Job) -> bool:
    """Whether *job* is about a received event. Only a receiver writes that, so no other client can claim it."""
    return bool(job.request and job.request.get("receiver"))


def restore(job: Job) -> ReceivedEvent:
    """Return the event of *job*.

    Raises:
        Exception: the receiver cannot read it, such as its ``order_key()``.
    """
    kept = job.input["event"]
    event = ReceivedEvent(kept["id"], _unpacked(kept["body"]), kept["headers"], kept["path"])
    if job.request["unread"]:
        with circumstances(job.request):
            receiver_of(job).read_again(event)
    return event


def handle(job: Job, event: ReceivedEvent) -> Any:
    """Run ``handle()`` of the receiver that has accepted *job*.

    Raises:
        Resolver404: no route leads to it any more.
    """
    with circumstances(job.request):
        return receiver_of(job).handle(event)


def receiver_of(job: Job) -> Any:
    """Return an instance of the receiver that has accepted *job*, found by its route.

    Raises:
        Resolver404: no route leads to it any more.
    """
    match: Any = resolved(job.request)
    receiver = match.func.view_class(**match.func.view_initkwargs)
    receiver.args, receiver.kwargs = match.args, match.kwargs
    return receiver


def shown(stored: Any) -> Any:
    """Return the stored input of an event for people: the body as data, so that secrets in it can be hidden.

    Of a body that has no strict JSON form, only the size.
    """
    event = stored["event"]
    text = event["body"].get("text")
    kind = CaseInsensitiveMapping(event["headers"]).get("Content-Type", "").partition(";")[0].strip().lower()
    size = len(_unpacked(event["body"]))
    body: Any = f"({size} bytes)"
    if text is not None and kind == FORM:
        body = [[key, [value]] for key, value in parse_qsl(text, keep_blank_values=True)]
    elif text is not None:
        with suppress(ValueError, RecursionError):
            data = json.loads(text)
            encoding.dumps(data)  # a page cannot show lone surrogates, or what is nested by the hundred
            body = data
    return {**event, "body": body}
