"""The heartbeat: one thread per worker process that keeps its jobs alive and current.

At each beat it asks once where all jobs of this process stand (canceled? taken away?) and writes once what is new
(progress, log, longer leases). So ``report()`` sets a value in memory, progress shows through a task's open
transaction, and ``checkpoint()`` needs no query.
"""

import logging
import os
import threading
from time import monotonic, sleep
from typing import Any

from django.db import Error, connections
from django.db.models import BooleanField, Case, ExpressionWrapper, F, Q, Value, When
from django.utils import timezone

from ..conf import conf
from ..db.functions import from_now
from ..jobs.attempt import Run
from ..models import Job, database
from ..states import LEASED, State

__all__ = ["Heartbeat", "heartbeat"]

logger = logging.getLogger(__name__)

#: A new stage is shown after so many seconds, however long a beat is; several of them together.
NEWS_SECONDS = 0.2


class Heartbeat:
    """The heartbeat of all runs of this process."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.runs: set[Run] = set()
        self.pid = os.getpid()
        self.thread: threading.Thread | None = None
        self.stir = threading.Event()
        #: A run has come to a new stage.
        self.news = threading.Event()

    def add(self, run: Run, *, thread: bool = True) -> None:
        """Keep *run* alive from now on; starts the thread with the first run after a fork."""
        if self.pid != os.getpid():
            self._reset()
        self.runs.add(run)
        run.announce = self.news.set
        if thread:
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._live, name="async_accept heartbeat", daemon=True)
                self.thread.start()
            self.stir.set()

    def remove(self, run: Run) -> None:
        self.runs.discard(run)

    def beat(self) -> None:
        """Learn and write, in at most two statements however many jobs run here; none for jobs that just began."""
        self.news.clear()
        now, interval = monotonic(), conf.HEARTBEAT.total_seconds()
        runs = [
            run for run in list(self.runs) if now - run.began >= (NEWS_SECONDS if run.fresh else interval)
        ]
        for run in runs:
            run.fresh = False
        if runs:
            self._write(*self._look(runs))

    def _look(self, runs: list[Run]) -> tuple[list[Run], bool]:
        """Tell each run whether it is to stop; return those that still hold their job, and whether a lease is short.

        It is short when a third of it has passed by the database's clock: that one goes on while this machine sleeps.
        """
        is_short = ExpressionWrapper(
            Q(lease_until__lte=from_now(conf.LEASE * 2 / 3)), output_field=BooleanField()
        )
        rows = Job.objects.filter(pk__in=[run.job.pk for run in runs])
        found = {pk: columns for pk, *columns in rows.values_list("pk", "state", "attempt", is_short)}
        held, short = [], False
        for run in runs:
            state, attempt, its_lease_is_short = found.get(run.job.pk, (None, None, None))
            if state in LEASED and attempt == run.job.attempt:
                run.canceling = state == State.CANCELING
                short = short or bool(its_lease_is_short)
                held.append(run)
            elif not run.ended:
                run.taken = True
                self.remove(run)
        return held, short

    def _write(self, held: list[Run], short: bool) -> None:
        news = {run: columns for run in held if (columns := run.unwritten())}
        if not news and not short:
            return
        changes: dict[str, Any] = {"lease_until": from_now(conf.LEASE)}
        if news:
            loud = [run.job.pk for run in news]
            for name in {name for columns in news.values() for name in columns}:
                field: Any = Job._meta.get_field(name)
                whens = [
                    When(pk=run.job.pk, then=Value(columns[name], output_field=field))
                    for run, columns in news.items()
                    if name in columns
                ]
                changes[name] = Case(*whens, default=F(name))
            changes["updated_at"] = Case(
                When(pk__in=loud, then=Value(timezone.now())), default=F("updated_at")
            )
        fence = Q()
        for run in held:
            fence |= Q(pk=run.job.pk, attempt=run.job.attempt)
        mine = Job.objects.filter(fence, state__in=LEASED)
        try:
            mine.update(**changes)
        except Error as error:
            # One job's message that the table cannot hold must not cost all of them their leases.
            mine.update(lease_until=changes["lease_until"])
            logger.warning("Progress could not be written: %s", type(error).__name__)
        for run, columns in news.items():
            run.written.update(columns)

    def _live(self) -> None:
        connection = connections[database()]
        while True:
            if not self.runs:
                connection.close()  # a waiting process keeps no second connection
                self.stir.clear()
                if not self.runs:
                    self.stir.wait()
            if self.news.wait(conf.HEARTBEAT.total_seconds()):
                sleep(NEWS_SECONDS)
            try:
                self.beat()
            except Error as error:
                # The database is away. The jobs go on; the lease decides if it stays away for too long.
                logger.warning("The heartbeat could not reach the database: %s", type(error).__name__)
                connection.close()
            except Exception:
                logger.exception("The heartbeat failed; it beats again.")


#: The process's heartbeat.
heartbeat = Heartbeat()
