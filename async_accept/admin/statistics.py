"""Figures about all jobs: how many wait, run and fail, and whether anybody works.

Each one reads a bounded range of an index, so that the dashboard of a million jobs costs what the first one did.
Jobs that their owners deleted while they ran are in no figure, because they are in no list either.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.db.models import (
    BooleanField,
    Case,
    Count,
    Exists,
    Max,
    Q,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import TruncHour
from django.db.models.lookups import GreaterThan
from django.utils import timezone

from ..db.functions import CountOf, DatabaseNow, NewestOf
from ..models import Job
from ..querysets import JobQuerySet
from ..states import LEASED, State

__all__ = ["HOURS", "collect", "failed_lately", "figures", "starving", "with_alarm"]

#: The window of the dashboard.
HOURS = 24
#: For how many seconds the figures are kept.
CACHE_SECONDS = 15
#: Counts go no further.
COUNT_CAP = 100_000
#: Percentiles are those of so many of the newest jobs.
SAMPLE = 2_000
#: Waiting for longer than this, while no worker was seen for as long, is unusual.
QUIET = timedelta(minutes=1)


def figures() -> dict[str, Any]:
    """Return the figures of the dashboard, at most 15 seconds old."""
    found: dict[str, Any] | None = cache.get("async_accept.admin.statistics")
    if found is None:
        found = collect(timezone.now())
        cache.set("async_accept.admin.statistics", found, CACHE_SECONDS)
    return found


def collect(now: datetime) -> dict[str, Any]:
    """Ask the database for every figure, in four statements."""
    failing = _failing(now)
    return {
        "at": now,
        **_open(now),
        "failed": sum(row["count"] for row in failing),
        "failing": failing[:10],
        "hours": _hours(now),
        **_percentiles(now - timedelta(hours=HOURS)),
    }


def failed_lately(now: datetime | None = None) -> Q:
    """Return the condition of jobs that failed in the dashboard's window, by when that happened."""
    return Q(state=State.FAILED, finished_at__gte=(now or timezone.now()) - timedelta(hours=HOURS))


# --- Whether anybody works ------------------------------------------------------------------------------


def with_alarm(jobs: JobQuerySet, now: datetime | None = None) -> JobQuerySet:
    """Let each row say as ``starves`` whether it waits for unusually long while no worker is seen.

    It comes with the rows, and only a job that has waited that long makes the database look for a worker.
    """
    now = now or timezone.now()
    waits = Q(state=State.ACCEPTED, attempt=0, created_at__lt=now - QUIET)
    return jobs.annotate(starves=Case(When(waits, then=_nobody_works(now)), default=Value(False)))


def starving(jobs: Iterable[Job], now: datetime | None = None) -> timedelta | None:
    """Return how long the longest waiting of *jobs* waits, if that is unusual and no worker is seen; else None.

    Args:
        jobs: rows of ``with_alarm()``.
    """
    now = now or timezone.now()
    return max((now - job.created_at for job in jobs if getattr(job, "starves", False)), default=None)


def _nobody_works(now: datetime) -> Case:
    """Return an expression: no worker holds a job, and none has ended one lately."""
    since = now - QUIET
    holds = Exists(Job.objects.filter(lease_until__gt=DatabaseNow()))
    failed = Exists(Job.objects.filter(state=State.FAILED, finished_at__gt=since))
    # By when they were accepted, which has an index: a job that ended just now is among the newest hundred, or
    # others are.
    newest = Job.objects.filter(state=State.SUCCEEDED).order_by("-created_at")[:100]
    succeeded = GreaterThan(NewestOf(newest, "finished_at"), since)
    seen = Q(holds) | Q(failed) | Q(succeeded)
    return Case(When(seen, then=Value(False)), default=Value(True), output_field=BooleanField())


# --- The figures -----------------------------------------------------------------------------------------


def _listed() -> JobQuerySet:
    jobs: Any = Job.objects
    return jobs.filter(forgotten=False)  # type: ignore[no-any-return]


def _open(now: datetime) -> dict[str, Any]:
    """Return what is told of jobs that have not ended: how many wait and run, the oldest, and whether anybody works."""
    waiting = _listed().filter(state=State.ACCEPTED)
    oldest = waiting.filter(attempt=0).order_by("created_at")
    # Any row does to carry the answers; where there is none, there is nothing to tell.
    rows = Job.objects.order_by("-pk").values(
        waiting=CountOf(waiting, COUNT_CAP + 1),
        running=CountOf(_listed().filter(state__in=LEASED), COUNT_CAP + 1),
        oldest=Subquery(oldest.values("pk")[:1]),
        since=Subquery(oldest.values("created_at")[:1]),
        nobody_works=_nobody_works(now),
    )
    none = {"waiting": 0, "running": 0, "oldest": None, "since": None, "nobody_works": False}
    found: dict[str, Any] = dict(next(iter(rows[:1]), none))
    longest = now - found.pop("since") if found["oldest"] else None
    nobody = found.pop("nobody_works")
    return {
        **found,
        "longest": longest,
        "starving": longest if nobody and longest is not None and longest > QUIET else None,
    }


def _failing(now: datetime) -> list[dict[str, Any]]:
    """Return the operations that failed lately, the most frequent first."""
    failed = _listed().filter(failed_lately(now)).order_by()
    rows = failed.values("operation").annotate(count=Count("pk"), last=Max("finished_at"))
    return sorted(map(dict, rows), key=lambda row: (-row["count"], row["operation"]))


def _hours(now: datetime) -> list[dict[str, Any]]:
    """Return the jobs by the hour in which they were accepted and the state that they are in now, oldest first."""
    this = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    first = this - timedelta(hours=HOURS - 1)
    # All states by name: so the index on (state, created_at) can answer without the table.
    jobs = _listed().filter(state__in=State.values, created_at__gte=first).order_by()
    # In UTC, whatever the time zone: MariaDB knows the others only where somebody loaded their tables.
    hour = TruncHour("created_at", tzinfo=UTC)
    counts = {
        (row["hour"], row["state"]): row["count"]
        for row in jobs.annotate(hour=hour).values("hour", "state").annotate(count=Count("*"))
    }
    hours = [first + timedelta(hours=n) for n in range(HOURS)]
    return [{"hour": h, "counts": {str(s): counts.get((h, s), 0) for s in State}} for h in hours]


def _percentiles(since: datetime) -> dict[str, Any]:
    """Return the median and the 95th percentile of waiting and running, of the newest jobs that succeeded."""
    jobs = _listed().filter(state=State.SUCCEEDED, created_at__gte=since).order_by("-created_at")
    rows = list(jobs.values_list("created_at", "started_at", "finished_at", "attempt")[:SAMPLE])
    waits = sorted(started - created for created, started, _, attempt in rows if started and attempt == 1)
    runs = sorted(finished - started for _, started, finished, _ in rows if started and finished)
    return {
        "sample": len(rows),
        "wait_p50": _at(waits, 0.50),
        "wait_p95": _at(waits, 0.95),
        "run_p50": _at(runs, 0.50),
        "run_p95": _at(runs, 0.95),
    }


def _at(ordered: list[timedelta], share: float) -> timedelta | None:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else None
