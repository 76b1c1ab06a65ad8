"""Waiting for jobs: one watcher per process asks about all jobs that clients wait for, in one query.

So a hundred clients that wait cost one query in a quarter of a second, not a hundred loops. The same query tells
whether their accounts are still active, so that nobody hears of a job who could not ask for it any more.
"""

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import Error, connections
from django.db.models import Value

from ..conf import conf
from ..models import Job, database
from ..states import FINAL
from .forks import call_after_fork

__all__ = ["Reader", "Seen", "Watcher", "watcher"]

logger = logging.getLogger(__name__)

#: How often the watcher looks, in seconds.
INTERVAL_SECONDS = 0.25
#: How often it asks about readers who do not own the job, such as staff, in seconds.
ACCESS_SECONDS = 2.0


class Seen(NamedTuple):
    """What a waiting client has seen of a job."""

    state: str
    updated_at: Any

    @classmethod
    def of(cls, job: Job) -> "Seen":
        return cls(str(job.state), job.updated_at)


#: Called once, in the watcher's thread, with the job as it is then; None if it is gone, for the reader at least.
Told = Callable[[Job | None], None]


class Reader(NamedTuple):
    """Who waits, if the wait may be long."""

    #: The primary key of the user; None for somebody who owns no jobs.
    user_pk: Any
    #: Whether an active user may see their own jobs in any case.
    sees_own: bool
    #: Takes ids of jobs, asks the database, and returns those that the reader may still see.
    check: Callable[[Collection[UUID]], Collection[UUID]]


class Row(NamedTuple):
    """What a look reads of a job."""

    seen: Seen
    owner_pk: Any
    owner_is_active: bool
    anonymous: bool


class Waiting(NamedTuple):
    """Somebody who waits."""

    pk: UUID
    concerns: Callable[[Seen], bool]
    told: Told
    reader: Reader | None


def _read(pks: Collection[UUID]) -> dict[UUID, Row]:
    """Read what is watched of these jobs, in one statement; what is gone is left out."""
    names = {field.name for field in get_user_model()._meta.get_fields()}
    # A user model may have no such column; then all of its users are active.
    is_active: Any = "owner__is_active" if "is_active" in names else Value(True)
    rows = Job.objects.filter(pk__in=pks, forgotten=False).order_by()
    columns = rows.values_list("pk", "state", "updated_at", "owner_id", is_active, "anonymous")
    return {pk: Row(Seen(state, updated), *others) for pk, state, updated, *others in columns}


def _not_seen(waiting: Mapping[object, Waiting]) -> set[object]:
    """Return which of those that one reader waits for are none of theirs any more."""
    reader = next(iter(waiting.values())).reader
    assert reader is not None
    try:
        seen = reader.check({each.pk for each in waiting.values()})
    except Error:
        raise
    except Exception:  # the project's own permissions
        logger.exception("Whether a reader may still see jobs could not be found out; the streams end.")
        return set(waiting)
    return {token for token, each in waiting.items() if each.pk not in seen}


class Watcher:
    """Tells waiting clients about changes of their jobs."""

    def __init__(self) -> None:
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        self.lock = threading.Lock()
        self.waiting: dict[object, Waiting] = {}
        #: When readers who do not own their jobs were checked last, in seconds of the clock.
        self.checked = 0.0
        #: How many threads wait; coroutines cost little, and are not counted.
        self.blocked = 0
        self.thread: threading.Thread | None = None
        #: Somebody waits.
        self.busy = threading.Event()

    @contextmanager
    def watch(
        self, pk: UUID, concerns: Callable[[Seen], bool], told: Told, reader: Reader | None = None
    ) -> Iterator[None]:
        """Call *told* once, as soon as *concerns* returns True for the row of *pk*, or the row is gone.

        Args:
            reader: for whom the row is gone as well when they may not see it any more.
        """
        token = object()
        with self.lock:
            self.waiting[token] = Waiting(pk, concerns, told, reader)
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
        rows = _read({each.pk for each in waiting.values()})
        shut_out = self._shut_out(waiting, rows)
        concerned = {
            token: each
            for token, each in waiting.items()
            if token in shut_out or (row := rows.get(each.pk)) is None or each.concerns(row.seen)
        }
        if not concerned:
            return
        # The jobs are read here, because a client that waits in a coroutine has no connection of its own.
        known = {each.pk for token, each in concerned.items() if token not in shut_out}
        changed = Job.objects.filter(forgotten=False).light().in_bulk(known) if known else {}
        for token, each in concerned.items():
            with self.lock:
                still = self.waiting.pop(token, None)
            if still is not None:
                each.told(None if token in shut_out else changed.get(each.pk))

    def _shut_out(self, waiting: Mapping[object, Waiting], rows: Mapping[UUID, Row]) -> set[object]:
        """Return those whose reader may not see the job any more. Only readers of others' jobs cost statements."""
        found: set[object] = set()
        others: dict[Any, dict[object, Waiting]] = defaultdict(dict)
        for token, each in waiting.items():
            row, reader = rows.get(each.pk), each.reader
            if row is None or reader is None:
                continue
            if reader.sees_own and row.anonymous:
                continue  # its URL is the key
            if reader.sees_own and row.owner_pk is not None and row.owner_pk == reader.user_pk:
                if not row.owner_is_active:
                    found.add(token)
            else:
                others[token if reader.user_pk is None else reader.user_pk][token] = each
        if others and monotonic() - self.checked >= ACCESS_SECONDS:
            self.checked = monotonic()
            for theirs in others.values():
                found |= _not_seen(theirs)
        return found

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

    async def changed(self, job: Job, timeout_seconds: float, reader: Reader | None = None) -> Job | None:
        """Wait in a coroutine until the row differs from *job*, and return it as it is then.

        Returns:
            None if it is gone, or *reader* may not see it any more.

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

        with self.watch(job.pk, lambda now: now != seen, tell, reader):
            return await asyncio.wait_for(future, timeout_seconds)


#: The process's watcher.
watcher = Watcher()
