"""Waiting for jobs: one watcher per process asks about all jobs that clients wait for, in one query.

So a hundred clients that wait cost one query in a quarter of a second, not a hundred loops.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

from django.db import Error, connections

from ..conf import conf
from ..models import Job, database
from ..states import FINAL
from .forks import call_after_fork

__all__ = ["Seen", "Watcher", "watcher"]

logger = logging.getLogger(__name__)

#: How often the watcher looks, in seconds.
INTERVAL_SECONDS = 0.25


class Seen(NamedTuple):
    """What a waiting client has seen of a job."""

    state: str
    updated_at: Any

    @classmethod
    def of(cls, job: Job) -> "Seen":
        return cls(str(job.state), job.updated_at)


#: Called once, in the watcher's thread, with the job as it is then; None if it is gone.
Told = Callable[[Job | None], None]


class Watcher:
    """Tells waiting clients about changes of their jobs."""

    def __init__(self) -> None:
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        self.lock = threading.Lock()
        self.waiting: dict[object, tuple[UUID, Callable[[Seen], bool], Told]] = {}
        #: How many threads wait; coroutines cost little, and are not counted.
        self.blocked = 0
        self.thread: threading.Thread | None = None
        #: Somebody waits.
        self.busy = threading.Event()

    @contextmanager
    def watch(self, pk: UUID, concerns: Callable[[Seen], bool], told: Told) -> Iterator[None]:
        """Call *told* once, as soon as *concerns* returns True for the row of *pk*, or the row is gone."""
        token = object()
        with self.lock:
            self.waiting[token] = (pk, concerns, told)
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._live, name="async_accept watcher", daemon=True)
                self.thread.start()
        self.busy.set()
        try:
            yield
        finally:
            with self.lock:
                self.waiting.pop(token, None)

    def look(self) -> None:
        """Ask once about all jobs that somebody waits for, and tell those whom it concerns."""
        with self.lock:
            waiting = dict(self.waiting)
        if not waiting:
            return
        jobs = Job.objects.filter(forgotten=False)
        rows = jobs.filter(pk__in={pk for pk, *_ in waiting.values()})
        now = {
            pk: Seen(state, updated) for pk, state, updated in rows.values_list("pk", "state", "updated_at")
        }
        concerned = {
            token: (pk, told)
            for token, (pk, concerns, told) in waiting.items()
            if (seen := now.get(pk)) is None or concerns(seen)
        }
        if not concerned:
            return
        # The jobs are read here, because a client that waits in a coroutine has no connection of its own.
        changed = jobs.light().in_bulk({pk for pk, _ in concerned.values()})
        for token, (pk, told) in concerned.items():
            with self.lock:
                still = self.waiting.pop(token, None)
            if still is not None:
                told(changed.get(pk))

    def _live(self) -> None:
        connection = connections[database()]
        while True:
            if not self.waiting:
                connection.close()
                self.busy.clear()
                if not self.waiting:
                    self.busy.wait()
            try:
                self.look()
            except Error as error:
                logger.warning("The watcher could not reach the database: %s", type(error).__name__)
                connection.close()
            except Exception:
                logger.exception("The watcher failed; it goes on.")
            threading.Event().wait(INTERVAL_SECONDS)

    # --- The two ways to wait ---------------------------------------------------------------------------

    def wait(self, job: Job, timeout_seconds: float, *, for_end: bool) -> bool | None:
        """Block until the job ends, or its status changes; False if that takes longer.

        None at once, without waiting, if ``MAX_WAITERS`` threads of this process wait already.
        """
        with self.lock:
            if self.blocked >= conf.MAX_WAITERS:
                return None
            self.blocked += 1
        event = threading.Event()
        before = str(job.state)
        concerns = (lambda seen: seen.state in FINAL) if for_end else (lambda seen: seen.state != before)
        try:
            with self.watch(job.pk, concerns, lambda now: event.set()):
                return event.wait(timeout_seconds)
        finally:
            with self.lock:
                self.blocked -= 1

    async def changed(self, job: Job, timeout_seconds: float) -> Job | None:
        """Wait in a coroutine until the row differs from *job*, and return it as it is then; None if it is gone.

        Raises:
            TimeoutError: it did not change in time.
        """
        seen = Seen.of(job)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Job | None] = loop.create_future()

        def settle(now: Job | None) -> None:
            if not future.done():
                future.set_result(now)

        def tell(now: Job | None) -> None:
            loop.call_soon_threadsafe(settle, now)

        with self.watch(job.pk, lambda now: now != seen, tell):
            return await asyncio.wait_for(future, timeout_seconds)


#: The process's watcher.
watcher = Watcher()
