"""Server-sent events: the status document now, and again whenever it changes.

A stream costs a coroutine on ASGI: neither a thread nor a connection. On WSGI it would cost a thread, so it is not
offered there. All streams of a process share one watcher, which reads all their jobs in one query. A stream ends with
its job, when its reader may not see the job any more, or after some minutes: its client connects again, so it must
authenticate again, and may come to another process.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from copy import copy
from functools import partial
from random import random
from typing import Any
from uuid import UUID
from weakref import finalize

from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import Http404, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import APIException
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request, clone_request
from rest_framework.response import Response

from ..db.transactions import close_connections
from ..jobs.watcher import Reader, watcher
from ..models import Job
from ..querysets import acting
from .monitor import for_renderer, status_document
from .negotiation import spoken
from .openings import leave_thread
from .renderers import EventStreamRenderer
from .seats import Seat, seats

__all__ = ["event_id", "last_event_id", "stream"]

#: After so many seconds without an event, or one beat less, a comment is sent, so that proxies keep the connection.
HEARTBEAT_SECONDS = 15.0
#: How many beats that is; each stream has one of them.
BEATS = 15
#: How long a client should wait before it connects again.
RETRY_MILLISECONDS = 2000
#: The longest life of a stream: a log-out and a revoked token are noticed after it at the latest.
LIFE_SECONDS = 600.0
#: By how much of that a stream may end earlier, so that those that were opened together do not come back together.
JITTER = 0.2


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
    """Return the stream of *job*: the present state if the client has not seen it, then every change.

    It ends with the job, or after ``LIFE_SECONDS``; what its client has missed is told when it connects again.

    HEAD gets the headers only: an ASGI server would run the stream to its end, and throw it away. It is empty, and a
    stream all the same, because ``CommonMiddleware`` would say that the stream of GET has no bytes.

    Raises:
        Throttled: the caller has as many streams in this process as one may have (429).
        Unavailable: the process has as many as it may have (503).
    """
    request = view.request
    response: HttpResponseBase
    if request.method == "HEAD":
        response = StreamingHttpResponse(_nothing(), content_type=EventStreamRenderer.media_type)
    else:
        seat = seats.take(request)
        events = _events(job, view, seat)
        streaming: Any = StreamingHttpResponse(events, content_type=EventStreamRenderer.media_type)
        # If the client is gone before the first event, nothing runs the generator; or nobody closes the response.
        streaming._resource_closers.append(seat.leave)
        finalize(streaming, seat.leave).atexit = False
        response = streaming
        # Django would keep this thread's connection until the stream ends: one connection for each client.
        close_connections()
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # nginx would hold events back
    # Django's GZipMiddleware would compress each event alone, and a reader would wait for more.
    response["Content-Encoding"] = "identity"
    return response


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for each in nothing:
        yield each


async def _events(job: Job, view: Any, seat: Seat) -> AsyncIterator[bytes]:
    leave_thread()
    seat.begin()
    try:
        async for event in _told(job, view):
            yield event
    finally:
        seat.leave()


async def _told(job: Job, view: Any) -> AsyncIterator[bytes]:
    reader = Reader(acting(view.request.user), view.owners_see_theirs, partial(_still_visible, view))
    request, renderer = view.request, spoken(view.request)
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    told = last_event_id(request)
    now: Job | None = job
    clock = asyncio.get_running_loop().time
    ends_at = clock() + _life_seconds()
    while now is not None:
        if event_id(now) != told:
            told = event_id(now)
            yield _event(now, view, renderer)
        if now.is_final:
            return
        with watcher.follow(now, reader) as change:
            while not change.done():
                if clock() >= ends_at:  # not before a beat: to wake for each stream alone costs more
                    return
                await asyncio.wait([change], timeout=_until_heartbeat(clock()))
                if not change.done():
                    yield b": still here\n\n"
            now = change.result()


def _life_seconds() -> float:
    return LIFE_SECONDS * (1 - JITTER * random())  # noqa: S311 nobody gains by guessing it


def _until_heartbeat(now: float) -> float:
    """Return how many seconds a stream waits for its next heartbeat, which is due on a beat of the loop's clock.

    So the process wakes once for all streams with the same beat: to wake costs more than to send a comment.
    """
    return HEARTBEAT_SECONDS - now % (HEARTBEAT_SECONDS / BEATS)


def _still_visible(view: Any, pks: Collection[UUID]) -> Collection[UUID]:
    """Return which of these jobs the caller of *view* could get now, with the account as it is now."""
    view = _as_of_now(view)
    if view is None:
        return ()
    visible = []
    for job in view.get_queryset().filter(pk__in=pks):
        try:
            view.check_object_permissions(view.request, job)
        except (APIException, Http404, PermissionDenied):
            continue
        visible.append(job.pk)
    return visible


def _as_of_now(view: Any) -> Any:
    """Return *view* with its caller loaded again; None if they may ask for nothing any more."""
    now = copy(view)
    now.request = clone_request(view.request, "GET")
    pk = acting(view.request.user)
    if pk is not None:
        now.request._user = get_user_model()._default_manager.filter(pk=pk).first()
        if acting(now.request._user) is None:
            return None
    try:
        now.check_permissions(now.request)
    except (APIException, Http404, PermissionDenied):
        return None
    return now


def _event(job: Job, view: Any, renderer: BaseRenderer) -> bytes:
    """Return the status document, as a poll gets it, as an event."""
    document = for_renderer(renderer, status_document(job, view.request), job, view.request)
    response = Response(document)
    context = {**view.get_renderer_context(), "response": response}
    text = renderer.render(document, renderer.media_type, context)
    lines = (text if isinstance(text, bytes) else text.encode()).splitlines()
    data = b"".join(b"data: %b\n" % line for line in lines)
    return b"id: %b\nevent: status\n%b\n" % (event_id(job).encode(), data)
