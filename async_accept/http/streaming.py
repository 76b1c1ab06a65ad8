"""Server-sent events: the status document now, and again whenever it changes.

A stream costs a coroutine on ASGI. On WSGI it would cost a thread, so it is not offered there. All streams of a process
share one watcher, which reads all their jobs in one query.
"""

from collections.abc import AsyncIterator
from typing import Any

from django.db import connections
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from ..jobs.watcher import watcher
from ..models import Job
from .monitor import JobSerializer
from .negotiation import spoken
from .renderers import EventStreamRenderer

__all__ = ["event_id", "last_event_id", "stream"]

#: After so many seconds without an event, a comment is sent, so that proxies keep the connection.
HEARTBEAT_SECONDS = 15.0
#: How long a client should wait before it connects again.
RETRY_MILLISECONDS = 2000


def event_id(job: Job) -> str:
    """Return the id of the event for the job in its present state."""
    return f"{job.updated_at.timestamp():.6f}-{job.state}"


def last_event_id(request: Request) -> str | None:
    """Return the id of the last event that the client has seen; None if the client does not say.

    A browser's ``EventSource`` sends the header when it connects again by itself. A new ``EventSource`` cannot send
    headers, for instance after the page was hidden; it puts the id into the URL (``?last_event_id=``).
    """
    header: str | None = request.META.get("HTTP_LAST_EVENT_ID")
    return header or request.query_params.get("last_event_id")


def stream(job: Job, view: Any) -> HttpResponseBase:
    """Return the stream of *job*: the present state if the client has not seen it, then every change, until the end.

    HEAD gets the headers only: an ASGI server would run the stream to its end, and throw it away.
    """
    request = view.request
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse(content_type=EventStreamRenderer.media_type)
    else:
        response = StreamingHttpResponse(_events(job, view), content_type=EventStreamRenderer.media_type)
        # Django would keep this thread's connection until the stream ends: one connection for each client.
        for connection in connections.all(initialized_only=True):
            if not connection.in_atomic_block:
                connection.close()
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # nginx would hold events back
    # Django's GZipMiddleware would compress each event alone, and a reader would wait for more.
    response["Content-Encoding"] = "identity"
    return response


async def _events(job: Job, view: Any) -> AsyncIterator[bytes]:
    request, renderer = view.request, spoken(view.request)
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    told = last_event_id(request)
    now: Job | None = job
    while now is not None:
        if event_id(now) != told:
            told = event_id(now)
            yield _event(now, view, renderer)
        if now.is_final:
            return
        try:
            now = await watcher.changed(now, HEARTBEAT_SECONDS)
        except TimeoutError:
            yield b": still here\n\n"


def _event(job: Job, view: Any, renderer: BaseRenderer) -> bytes:
    """Return the status document, as a poll gets it, as an event."""
    document = JobSerializer(job, context={"request": view.request}).data
    response = Response(document)
    context = {**view.get_renderer_context(), "response": response}
    text = renderer.render(document, renderer.media_type, context)
    lines = (text if isinstance(text, bytes) else text.encode()).splitlines()
    data = b"".join(b"data: %b\n" % line for line in lines)
    return b"id: %b\nevent: status\n%b\n" % (event_id(job).encode(), data)
