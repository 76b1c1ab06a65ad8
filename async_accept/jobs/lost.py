"""Lost jobs: taken from workers that no longer prolong their leases."""

import logging
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.db import connections, transaction
from django.db.models import Q

from ..conf import conf
from ..db.clock import steady
from ..db.errors import is_passing
from ..db.functions import DatabaseNow
from ..models import Job, database

__all__ = ["LostJobs", "steady"]

logger = logging.getLogger(__name__)

#: How many jobs are taken at a time.
BATCH = 500


class LostJobs:
    """Finds the jobs whose lease ran out, and knows when to believe that.

    Args:
        clock: gives seconds, also of a machine that sleeps; replaced in tests.
    """

    def __init__(self, clock: Callable[[], float] = steady) -> None:
        self.clock = clock
        self.distrust()

    def take(self) -> int:
        """Take jobs from workers that no longer prolong their leases; return how many."""
        ids = list(Job.objects.lease_lost().order_by("lease_until").values_list("pk", flat=True)[:BATCH])
        if not self._trusts() or not ids:
            return 0
        return self._take_readable(ids)

    def _take_readable(self, ids: list[UUID]) -> int:
        """Take these jobs; one whose row cannot be read is logged and left, so that the others are taken."""
        try:
            return self._take(ids)
        except Exception as error:
            if is_passing(error, own=True):
                raise
            if len(ids) > 1:
                return sum(self._take_readable([pk]) for pk in ids)
            pk, kind = ids[0], type(error).__name__
            logger.error("Job %s cannot be taken from its worker: %s", pk, kind, extra={"job_id": str(pk)})
            return 0

    def _take(self, ids: list[UUID]) -> int:
        still = Q(lease_until__lt=DatabaseNow())  # a heartbeat may come in between
        with transaction.atomic(using=database()):
            # Not without the history, which grows by a line if the job is given back.
            lost = Job.objects.filter(still, pk__in=ids).defer("input", "request", "log").unlocked()
            taken = [job for job in lost if job.lose("lease", fence=still)]
        for job in taken:
            logger.warning("Job %s was lost by %s", job.pk, job.worker, extra={"job_id": str(job.pk)})
        return len(taken)

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
