"""Lost jobs: taken from workers that no longer prolong their leases."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.models import Q

from ..conf import conf
from ..db.clock import steady
from ..db.functions import DatabaseNow
from ..models import Job, database
from ..querysets import JobQuerySet
from .duties import act_on

__all__ = ["LostJobs", "steady"]

logger = logging.getLogger(__name__)

#: How many jobs are taken at a time.
BATCH = 500
#: After how many seconds a job is tried again that could not be taken: the first time, and at most.
PAUSE, LONGEST_PAUSE = 60.0, 3600.0
#: The columns without which a job cannot be taken; none of them can hold what is no JSON.
NEEDED = (
    "id",
    "operation",
    "state",
    "attempt",
    "max_attempts",
    "retries",
    "retry_when_lost",
    "started_at",
    "worker",
)


class LostJobs:
    """Finds the jobs whose lease ran out, and knows when to believe that.

    Args:
        clock: gives seconds, also of a machine that sleeps; replaced in tests.
    """

    def __init__(self, clock: Callable[[], float] = steady) -> None:
        self.clock = clock
        #: Jobs that could not be taken: when that is tried again, and after which pause.
        self.aside: dict[UUID, tuple[float, float]] = {}
        self.distrust()

    def take(self) -> int:
        """Take jobs from workers that no longer prolong their leases; return how many."""
        lost = Job.objects.lease_lost().exclude(pk__in=self._aside()).order_by("lease_until")
        ids = list(lost.values_list("pk", flat=True)[:BATCH])
        if not self._trusts() or not ids:
            return 0
        taken, failed = act_on(ids, self._take)
        return taken + sum(self._take_alone(pk, error) for pk, error in failed.items())

    def _take(self, ids: Sequence[UUID]) -> int:
        # Not without the history, which grows by a line if the job is given back.
        return self._lose(Job.objects.filter(pk__in=ids).defer("input", "request", "log"))

    def _take_alone(self, pk: UUID, error: Exception) -> int:
        """Take a job whose row holds what is no JSON, without reading that; set aside what cannot be taken at all."""
        if isinstance(error, ValueError) and (taken := self._take_unreadable(pk)):
            return taken
        pause = min(2 * self.aside[pk][1], LONGEST_PAUSE) if pk in self.aside else PAUSE
        if pk not in self.aside:
            kind = type(error).__name__
            logger.error("Job %s cannot be taken from its worker: %s", pk, kind, extra={"job_id": str(pk)})
        self.aside[pk] = (self.clock() + pause, pause)
        return 0

    def _take_unreadable(self, pk: UUID) -> int:
        with suppress(ValueError):
            Job.objects.get(pk=pk)
            return 0  # it can be read, so something else is wrong
        return self._lose(Job.objects.filter(pk=pk).only(*NEEDED), history=None)

    def _lose(self, jobs: JobQuerySet, **known: Any) -> int:
        still = Q(lease_until__lt=DatabaseNow())  # a heartbeat may come in between
        taken = []
        with transaction.atomic(using=database()):
            for job in jobs.filter(still).unlocked():
                vars(job).update(known)
                if job.lose("lease", fence=still):
                    taken.append(job)
        for job in taken:
            self.aside.pop(job.pk, None)
            logger.warning("Job %s was lost by %s", job.pk, job.worker, extra={"job_id": str(job.pk)})
        return len(taken)

    def _aside(self) -> list[UUID]:
        """Return the jobs that could not be taken, and whose next try is not due."""
        if len(self.aside) > 10 * BATCH:  # most of them have ended by now
            self.aside.clear()
        return [pk for pk, (again_at, _) in self.aside.items() if self.clock() < again_at]

    @property
    def patience(self) -> float:
        """For how many seconds from a tick on no job is taken."""
        return max(self.trust_at - self.clock(), 0.0)

    def _trusts(self) -> bool:
        """Tell whether a lease that ran out means a dead worker; asked right after a query.

        After an outage, or after a pause of the database or the relay, every healthy worker looks dead until its next
        heartbeat. That one may have to wait for a connection first.
        """
        now = self.clock()
        # A gap of a third of a lease does no harm: each lease is prolonged after a third of it.
        harmless: timedelta = conf.RELAY_INTERVAL + conf.LEASE / 3
        if now - self.seen_at > harmless.total_seconds():
            self.trust_at = now + 2 * float(conf.HEARTBEAT.total_seconds()) + _connect_timeout()
        return now >= self.trust_at

    def distrust(self) -> None:
        """Believe no lease until two heartbeats after the next query: the database was away, or was not asked yet."""
        self.seen_at = float("-inf")
        self.trust_at = float("inf")

    def saw_database(self) -> None:
        """Remember that the database answers now."""
        self.seen_at = self.clock()


def _connect_timeout() -> float:
    """Return for how many seconds a worker may wait for its connection; 0 if the project sets no bound."""
    options = connections[database()].settings_dict.get("OPTIONS", {})
    return float(options.get("connect_timeout") or 0)
