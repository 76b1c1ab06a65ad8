"""Waiting for jobs: one watcher per process asks about all jobs that clients wait for, in one query.

So a hundred clients that wait cost one query in a fifth of a second, not a hundred loops. The same query tells whether
their accounts are still active, so that nobody hears of a job who could not ask for it any more.

PostgreSQL is asked only whether anything has changed; what has, is asked next.
"""

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from django.db import Error
from django.db.models import F, Value

from ..conf import conf
from ..db.transactions import close_connections
from ..models import Job
from ..states import FINAL
from .duties import Once
from .forks import call_after_fork
from .stamps import Stamp, digest, key_of, stamps, users_have_is_active

__all__ = ["Reader", "Seen", "Watcher", "watcher"]

logger = logging.getLogger(__name__)

#: How long the watcher pauses between two looks, in seconds.
INTERVAL_SECONDS = 0.2
#: How often it asks about readers who do not own the job, such as staff, in seconds.
ACCESS_SECONDS = 2.0
#: What ``Once`` remembers.
LOOK, GUESTS = "look", "guests"


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


@dataclass(eq=False, slots=True)
class Waiting:
    """Somebody who waits."""

    pk: UUID
    concerns: Callable[[Seen], bool]
    told: Told
    reader: Reader | None
    #: See ``key_of()``; empty until the first look.
    key: str = ""
    #: The stamp of the job when it was read last; empty before that.
    stamp: Stamp | None = ()
    #: Whether the reader sees the job for another reason than that it is theirs, and must be asked about.
    is_guest: bool = False
    #: Whether they may still see it could not be asked: they are told nothing new until it could.
    is_in_doubt: bool = False

    def is_by_right(self, job: Job) -> bool:
        """Whether the reader sees *job* because it is theirs, or its URL is the key; also if nobody asks who reads."""
        reader = self.reader
        if reader is None or (reader.sees_own and job.anonymous):
            return True
        return reader.sees_own and job.owner_id is not None and job.owner_id == reader.user_pk

    def is_locked_out(self, job: Any) -> bool:
        """Whether the reader owns *job*, and their account is not active any more."""
        is_asked = self.reader is not None and not self.is_guest and not job.anonymous
        return is_asked and not job.owner_is_active


def _read(pks: Collection[UUID]) -> dict[UUID, Job]:
    """Read these jobs, in one statement; what is gone or forgotten is left out."""
    is_active: Any = F("owner__is_active") if users_have_is_active() else Value(True)
    rows = Job.objects.filter(forgotten=False).light().annotate(owner_is_active=is_active)
    return rows.in_bulk(pks)


def _not_seen(waiting: Collection[Waiting]) -> list[Waiting]:
    """Return which of those that one reader waits for are none of theirs any more."""
    reader = next(iter(waiting)).reader
    assert reader is not None
    try:
        seen = reader.check({each.pk for each in waiting})
    except Error:
        raise
    except Exception:  # the project's own permissions
        logger.exception("Whether a reader may still see jobs could not be found out; the streams end.")
        return list(waiting)
    return [each for each in waiting if each.pk not in seen]


class Watcher:
    """Tells waiting clients about changes of their jobs."""

    def __init__(self) -> None:
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        self.lock = threading.Lock()
        self.waiting: set[Waiting] = set()
        #: How often somebody began or ceased to wait.
        self.turnover = 0
        #: That number at the last look at the rows, and the digest that they had.
        self.seen: tuple[int, str] | None = None
        #: When guests were asked about last, in seconds of the clock.
        self.checked = 0.0
        #: How many threads wait; coroutines cost little, and are not counted.
        self.blocked = 0
        self.thread: threading.Thread | None = None
        #: A look that fails is logged once, until one works again.
        self.said = Once()
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
        waiting = Waiting(pk, concerns, told, reader)
        with self.lock:
            self.waiting.add(waiting)
            self.turnover += 1
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._live, name="async_accept watcher", daemon=True)
                self.thread.start()
        self.busy.set()
        try:
            yield
        finally:
            with self.lock:
                self.waiting.discard(waiting)
                self.turnover += 1

    def look(self) -> None:
        """Ask once about all jobs that somebody waits for, and tell those whom it concerns."""
        with self.lock:
            waiting, turnover = list(self.waiting), self.turnover
        if not waiting:
            return
        for each in waiting:
            each.key = each.key or key_of(each.pk)
        keys = {each.key for each in waiting}
        found_digest = digest(keys)
        is_calm = found_digest is not None and self.seen == (turnover, found_digest)
        found = {} if is_calm else stamps(keys)
        moved = [] if is_calm else [each for each in waiting if each.stamp != found.get(each.key)]
        # The jobs are read here, because a client that waits in a coroutine has no connection of its own.
        jobs = _read({each.pk for each in moved}) if moved else {}
        news: dict[Waiting, Job | None] = {}
        for each in moved:
            job = jobs.get(each.pk)
            each.is_guest = job is not None and not each.is_by_right(job)
            each.is_in_doubt = each.is_in_doubt and each.is_guest
            if job is None or each.is_locked_out(job):
                news[each] = None
            elif each.concerns(Seen.of(job)):
                news[each] = job
        news.update(dict.fromkeys(self._shut_out(waiting)))
        for each, job in news.items():
            if each.is_in_doubt and job is not None:
                continue
            with self.lock:
                still = each in self.waiting
                self.waiting.discard(each)
                self.turnover += 1
            if still:
                each.told(job)
        # Not before: if anything above fails, the next look does all of it again.
        for each in moved:
            if not each.is_in_doubt:
                each.stamp = found.get(each.key)
        is_sure = not any(each.is_in_doubt for each in waiting)
        self.seen = (turnover, found_digest) if is_sure and found_digest is not None else None

    def _shut_out(self, waiting: Collection[Waiting]) -> list[Waiting]:
        """Return the guests who may not see the job any more. Only guests cost statements, and not at every look."""
        if monotonic() - self.checked < ACCESS_SECONDS:
            return []
        guests: dict[Any, list[Waiting]] = defaultdict(list)
        for each in waiting:
            if each.is_guest and each.reader is not None:
                guests[each if each.reader.user_pk is None else each.reader.user_pk].append(each)
        if guests:
            self.checked = monotonic()
        out, failed = [], None
        for theirs in guests.values():
            if failed is None:
                try:
                    out += _not_seen(theirs)
                except Error as error:  # maybe of another database, which the others have no need of
                    failed = error
            for each in theirs:
                each.is_in_doubt = failed is not None
        if failed is None:
            self.said.works(GUESTS)
        else:
            close_connections()
            if self.said.is_new(GUESTS, failed):
                kind = type(failed).__name__
                logger.warning("The watcher could not ask whether readers may still see jobs: %s", kind)
        return out

    def _live(self) -> None:
        while True:
            if not self.waiting:
                close_connections()
                self.busy.clear()
                if not self.waiting:
                    self.busy.wait()
            try:
                self.look()
                self.said.works(LOOK)
            except Error as error:
                if self.said.is_new(LOOK, error):
                    logger.warning("The watcher could not reach the database: %s", type(error).__name__)
                close_connections()
            except Exception as error:
                if self.said.is_new(LOOK, error):
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

    @contextmanager
    def follow(self, job: Job, reader: Reader | None = None) -> "Iterator[asyncio.Future[Job | None]]":
        """Give a coroutine a future for the job as it is once its row differs from *job*.

        The result is None if the row is gone, or *reader* may not see it any more.
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
            yield future


#: The process's watcher.
watcher = Watcher()
