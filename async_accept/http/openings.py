"""Opening a stream on ASGI: so many at a time, each with a thread and a connection; the others wait in coroutines.

After a deployment, thousands of clients open their streams at once. If all of them were looked up at once, the database
would refuse most of them. A stream that is open has neither a thread nor a connection.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, wraps
from threading import Lock
from typing import Any

from asgiref.sync import SyncToAsync, sync_to_async
from django.urls import ResolverMatch, URLPattern

from ..conf import conf
from ..db.transactions import close_connections
from ..jobs.forks import call_after_fork

__all__ = ["EventsPattern", "Openings", "leave_thread", "openings"]


class EventsPattern(URLPattern):
    """The URL of the events. On ASGI its view is a coroutine function; whoever reads the URLconf sees the plain view.

    On WSGI it is the plain view as well: Django would start an event loop and a thread for a coroutine function, only
    to refuse the stream.
    """

    @cached_property
    def view_in_turn(self) -> Any:
        return in_turn(self.callback)

    def resolve(self, path: Any) -> ResolverMatch | None:
        match = super().resolve(path)
        if match is not None and _is_in_event_loop():
            match.func = self.view_in_turn
        return match


def _is_in_event_loop() -> bool:
    """Whether this thread runs an event loop: on ASGI Django resolves URLs there, whatever the middleware is."""
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        return True
    return False


def in_turn(view: Callable[..., Any]) -> Any:
    """Return *view* as a coroutine function that waits for its turn, and closes the connections it has used."""

    @wraps(view)
    async def waiting(request: Any, *args: Any, **kwargs: Any) -> Any:
        turn = await openings.turn()

        def run() -> Any:
            turn.has_begun = True
            try:
                return view(request, *args, **kwargs)
            finally:
                # In this order, so that the next one finds a connection free. It ends in the thread: if the client
                # goes away meanwhile, the coroutine ends at once, and the thread goes on.
                close_connections()
                turn.end()

        try:
            return await sync_to_async(run, thread_sensitive=True)()
        finally:
            if not turn.has_begun:
                turn.end()

    return waiting


class Turn:
    """The turn to open a stream."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self.has_begun = False
        self._ended = [ended]

    def end(self) -> None:
        """Let the next one begin; to do so again is harmless."""
        with suppress(IndexError):
            self._ended.pop()()


class Openings:
    """The openings of a process: ``MAX_STREAM_OPENINGS`` at a time, in the order in which they come."""

    def __init__(self) -> None:
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        self.lock = Lock()
        self.under_way = 0
        self.waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    async def turn(self) -> Turn:
        """Wait for a turn, which must be ended. Whoever waits has no thread and no connection."""
        called = asyncio.get_running_loop().create_future()
        with self.lock:
            self.waiting[called] = None
            self._call()
            must_wait = called in self.waiting
        if must_wait:
            leave_thread()
        try:
            await called
        except asyncio.CancelledError:
            with self.lock:
                still_waits = called in self.waiting
                self.waiting.pop(called, None)
            if not still_waits:  # it was called at the same moment
                self._end()
            raise
        return Turn(self._end)

    def _end(self) -> None:
        with self.lock:
            self.under_way -= 1
            self._call()

    def _call(self) -> None:
        """Call as many as may begin; the lock is held."""
        while self.waiting and self.under_way < conf.MAX_STREAM_OPENINGS:
            called, _ = self.waiting.popitem(last=False)
            with suppress(RuntimeError):  # its event loop is closed: a server that has stopped
                called.get_loop().call_soon_threadsafe(_settle, called)
                self.under_way += 1


def _settle(called: "asyncio.Future[None]") -> None:
    if not called.done():
        called.set_result(None)


def leave_thread() -> None:
    """Give back the thread of this ASGI request, which closes its connections and ends.

    asgiref keeps a thread for each request until the response has been sent: for a stream, minutes or hours. If it is
    needed again, asgiref makes another one. Where a version of asgiref keeps it elsewhere, the thread stays.
    """
    context: Any = getattr(SyncToAsync, "thread_sensitive_context", None)
    threads: Any = getattr(SyncToAsync, "context_to_thread_executor", None)
    request = context and context.get(None)
    if not threads or request is None or getattr(request, "_executor", None):
        return  # nothing to give back, or it is somebody else's
    executor = threads.pop(request, None)
    if executor is not None:
        executor.submit(close_connections)
        executor.shutdown(wait=False)


#: The openings of this process.
openings = Openings()
