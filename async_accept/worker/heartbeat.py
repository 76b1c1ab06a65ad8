"""The heartbeat: one thread per worker process that keeps its jobs alive and their progress current.

At each beat it asks once about all jobs of this process (canceled? given up for lost?) and writes once what is new
(progress, log, longer leases). So ``report()`` sets a value in memory, progress shows through a task's open
transaction, and ``checkpoint()`` needs no query.
"""

import logging
import threading
from contextlib import nullcontext
from time import monotonic, sleep
from typing import Any
from uuid import UUID

from django.db import Error, connections, transaction
from django.db.models import BooleanField, Case, ExpressionWrapper, F, Q, Value, When

from ..conf import conf
from ..db.functions import DatabaseNow, from_now
from ..jobs.attempt import Attempt
from ..jobs.forks import call_after_fork
from ..models import Job, database
from ..states import LEASED, State

__all__ = ["Heartbeat", "heartbeat"]

logger = logging.getLogger(__name__)

#: How long the heartbeat waits, in seconds, before it writes a new stage; stages that follow are written together.
NEWS_SECONDS = 0.2


class Heartbeat:
    """The heartbeat of all attempts of this process."""

    def __init__(self) -> None:
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        self.attempts: set[Attempt] = set()
        self.thread: threading.Thread | None = None
        #: There is an attempt to keep alive.
        self.busy = threading.Event()
        #: An attempt has begun a new stage.
        self.news = threading.Event()

    def add(self, attempt: Attempt, *, thread: bool = True) -> None:
        """Keep *attempt* alive from now on; the first one of a process starts the thread."""
        self.attempts.add(attempt)
        attempt.progress.announce = self.news.set
        if thread:
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._live, name="async_accept heartbeat", daemon=True)
                self.thread.start()
            self.busy.set()

    def remove(self, attempt: Attempt) -> None:
        self.attempts.discard(attempt)

    def beat(self) -> None:
        """Ask, lock and write: at most three statements, however many jobs run here; none for jobs that just began."""
        self.news.clear()
        now = monotonic()
        attempts = [attempt for attempt in list(self.attempts) if now - attempt.began >= _rest(attempt)]
        for attempt in attempts:
            attempt.progress.fresh = False
        if attempts:
            self._write(*self._look(attempts))

    def _look(self, attempts: list[Attempt]) -> tuple[list[Attempt], bool]:
        """Tell each attempt whether it is to stop.

        Returns:
            the attempts that still hold their job, and whether a lease of theirs is short: a third of it has passed by
            the database's clock, which goes on while this machine sleeps.
        """
        is_short = ExpressionWrapper(
            Q(lease_until__lte=from_now(conf.LEASE * 2 / 3)), output_field=BooleanField()
        )
        rows = Job.objects.filter(pk__in=[attempt.job.pk for attempt in attempts])
        found = {pk: columns for pk, *columns in rows.values_list("pk", "state", "attempt", is_short)}
        held, short = [], False
        for attempt in attempts:
            state, number, its_lease_is_short = found.get(attempt.job.pk, (None, None, None))
            if state in LEASED and number == attempt.job.attempt:
                attempt.canceling = state == State.CANCELING
                short = short or bool(its_lease_is_short)
                held.append(attempt)
            elif not attempt.ended:
                attempt.taken = True
                self.remove(attempt)
        return held, short

    def _write(self, held: list[Attempt], short: bool) -> None:
        """Write what is new, and prolong all leases with it; nothing if nothing is new and no lease is *short*."""
        news = {attempt: columns for attempt in held if (columns := attempt.progress.unwritten())}
        if not news and not short:
            return
        try:
            written = _prolong(held, news)
        except Error as error:
            # One job's message that the table cannot hold must not cost all of them their leases.
            written = _prolong(held, {})
            logger.warning("Progress could not be written: %s", type(error).__name__)
        for attempt, columns in news.items():
            if attempt.job.pk in written:
                attempt.progress.written.update(columns)

    def _live(self) -> None:
        connection = connections[database()]
        while True:
            if not self.attempts:
                connection.close()  # a process without work keeps no second connection
                self.busy.clear()
                if not self.attempts:
                    self.busy.wait()
            if self.news.wait(conf.HEARTBEAT.total_seconds()):
                sleep(NEWS_SECONDS)
            try:
                self.beat()
            except Error as error:
                # The database is away. The jobs go on; if it stays away for too long, their leases run out.
                logger.warning("The heartbeat could not reach the database: %s", type(error).__name__)
                connection.close()
            except Exception:
                logger.exception("The heartbeat failed; it beats again.")


def _rest(attempt: Attempt) -> float:
    """Return how many seconds after its beginning an attempt has its first beat."""
    return NEWS_SECONDS if attempt.progress.fresh else float(conf.HEARTBEAT.total_seconds())


def _prolong(held: list[Attempt], news: dict[Attempt, dict[str, Any]]) -> set[UUID]:
    """Prolong the leases of these attempts, and write their *news*; return the jobs that were written.

    A row that somebody else has locked is left for the next beat, so that its neighbours need not wait for it. The
    relay takes no job whose row is locked.
    """
    mine = Job.objects.filter(_fence(held), state__in=LEASED)
    locks_rows = connections[mine.db].features.has_select_for_update
    with transaction.atomic(using=mine.db) if locks_rows else nullcontext():
        ids = {attempt.job.pk for attempt in held}
        if locks_rows:
            # The work may store what points to its own job: that locks the row, but not against this UPDATE.
            ids = set(mine.unlocked(no_key=True).values_list("pk", flat=True))
            mine = mine.filter(pk__in=ids)
        told = {attempt: columns for attempt, columns in news.items() if attempt.job.pk in ids}
        if ids:
            mine.update(lease_until=from_now(conf.LEASE), **_columns(told))
    return ids


def _fence(held: list[Attempt]) -> Q:
    """Match the jobs of these attempts, as long as no other attempt has them."""
    fence = Q()
    for attempt in held:
        fence |= Q(pk=attempt.job.pk, attempt=attempt.job.attempt)
    return fence


def _columns(news: dict[Attempt, dict[str, Any]]) -> dict[str, Any]:
    """Return what one UPDATE sets so that each job gets its own *news*, and the others keep what they have."""
    changes: dict[str, Any] = {}
    for name in {name for columns in news.values() for name in columns}:
        field: Any = Job._meta.get_field(name)
        whens = [
            When(pk=attempt.job.pk, then=Value(columns[name], output_field=field))
            for attempt, columns in news.items()
            if name in columns
        ]
        changes[name] = Case(*whens, default=F(name))
    if news:
        now = When(pk__in=[attempt.job.pk for attempt in news], then=DatabaseNow())
        changes["updated_at"] = Case(now, default=F("updated_at"))
    return changes


#: The process's heartbeat.
heartbeat = Heartbeat()
