"""Figures about jobs: how many wait, run and fail, and whether any worker works.

Each reads a bounded range of an index, so that a million jobs cost no more than a few. Jobs that their owners deleted
while they ran count as well, until they have ended: they use a worker.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
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

from ..db.functions import CountOf, DatabaseNow, NewestOf
from ..models import Job, database_now
from ..querysets import JobQuerySet
from ..states import LEASED, State

__all__ = ["HOURS", "collect", "failed_lately", "figures", "is_narrowed", "stalled_for", "with_stalled"]

#: The hours that the dashboard covers.
HOURS = 24
#: For how many seconds the figures are kept.
CACHE_SECONDS = 15
#: Counting stops here.
COUNT_CAP = 100_000
#: The percentiles are of this many of the newest jobs.
SAMPLE = 2_000
#: Staff are warned if a job waits longer than this, and no worker was seen for as long.
QUIET = timedelta(minutes=1)


def figures(jobs: JobQuerySet) -> dict[str, Any]:
    """Return the figures of the dashboard about *jobs*; at most 15 seconds old if these are all jobs."""
    if is_narrowed(jobs):  # perhaps for this user only
        return collect(database_now(), jobs)
    found: dict[str, Any] | None = cache.get("async_accept.admin.statistics")
    if found is None:
        found = collect(database_now())
        cache.set("async_accept.admin.statistics", found, CACHE_SECONDS)
    return found


def is_narrowed(jobs: JobQuerySet) -> bool:
    """Whether *jobs* are not all jobs, because an admin of the project's own narrows ``get_queryset()``."""
    return bool(jobs.query.where)


def collect(now: datetime, jobs: JobQuerySet | None = None) -> dict[str, Any]:
    """Read every figure from the database, in four statements.

    Args:
        jobs: those that are counted; None: all.
    """
    if jobs is None:
        jobs = Job.objects.all()
    elif jobs.query.distinct:  # a join may find a job several times, which would count as often
        jobs = Job.objects.filter(pk__in=jobs.order_by().values("pk"))
    jobs = jobs.order_by()
    failing = _failing(jobs, now)
    return {
        "at": now,
        **_active(jobs, now),
        "failed": sum(row["count"] for row in failing),
        "failing": failing[:10],
        "hours": _hours(jobs, now),
        **_percentiles(jobs, now - timedelta(hours=HOURS)),
    }


def failed_lately(now: datetime | None = None) -> Q:
    """Return the condition for jobs that failed in the hours that the dashboard covers."""
    return Q(state=State.FAILED, finished_at__gte=(now or database_now()) - timedelta(hours=HOURS))


# --- Whether any worker works ------------------------------------------------------------------------------


def with_stalled(jobs: JobQuerySet, now: datetime | None = None) -> JobQuerySet:
    """Annotate each job with ``stalled``: whether it waits longer than ``QUIET`` while no worker is seen.

    It needs no statement of its own, and the database looks for a worker only if a job has waited that long.
    """
    now = now or database_now()
    waits = Q(state=State.ACCEPTED, attempt=0, created_at__lt=now - QUIET)
    return jobs.annotate(stalled=Case(When(waits, then=_no_worker_seen(now)), default=Value(False)))


def stalled_for(jobs: Iterable[Job], now: datetime | None = None) -> timedelta | None:
    """Return how long the oldest job waits that no worker serves; None if there is none.

    Args:
        jobs: rows of ``with_stalled()``.
    """
    now = now or database_now()
    return max((now - job.created_at for job in jobs if getattr(job, "stalled", False)), default=None)


def _no_worker_seen(now: datetime) -> Case:
    """Return an expression: no worker holds a job, and no job has ended since ``QUIET`` ago.

    Whichever jobs an admin shows: a worker is seen by any job.
    """
    since = now - QUIET
    holds = Exists(Job.objects.filter(lease_until__gt=DatabaseNow()))
    failed = Exists(Job.objects.filter(state=State.FAILED, finished_at__gt=since))
    # There is no index on the time when a job succeeded. So look at the newest hundred by the time when they were
    # accepted: if jobs succeed at all, one of these does.
    newest = Job.objects.filter(state=State.SUCCEEDED).order_by("-created_at")[:100]
    succeeded = GreaterThan(NewestOf(newest, "finished_at"), since)
    seen = Q(holds) | Q(failed) | Q(succeeded)
    return Case(When(seen, then=Value(False)), default=Value(True), output_field=BooleanField())


# --- The figures -----------------------------------------------------------------------------------------


def _active(jobs: JobQuerySet, now: datetime) -> dict[str, Any]:
    """Return the figures of active jobs: how many wait and run, the one that waits longest, whether a worker works."""
    waiting = jobs.filter(state=State.ACCEPTED)
    oldest = waiting.filter(attempt=0).order_by("created_at")
    # Subqueries need a row to be selected with, and any job will do. Without a job, all figures are 0.
    rows = Job.objects.order_by("-pk").values(
        waiting=CountOf(waiting, COUNT_CAP + 1),
        running=CountOf(jobs.filter(state__in=LEASED), COUNT_CAP + 1),
        oldest=Subquery(oldest.values("pk")[:1]),
        since=Subquery(oldest.values("created_at")[:1]),
        no_worker_seen=_no_worker_seen(now),
    )
    none = {"waiting": 0, "running": 0, "oldest": None, "since": None, "no_worker_seen": False}
    found: dict[str, Any] = dict(next(iter(rows[:1]), none))
    longest = now - found.pop("since") if found["oldest"] else None
    no_worker = found.pop("no_worker_seen")
    return {
        **found,
        "longest": longest,
        "stalled_for": longest if no_worker and longest is not None and longest > QUIET else None,
    }


def _failing(jobs: JobQuerySet, now: datetime) -> list[dict[str, Any]]:
    """Return the operations of jobs that failed lately, the most frequent first."""
    failed = jobs.filter(failed_lately(now))
    rows = failed.values("operation").annotate(count=Count("pk"), last=Max("finished_at"))
    return sorted(map(dict, rows), key=lambda row: (-row["count"], row["operation"]))


def _hours(jobs: JobQuerySet, now: datetime) -> list[dict[str, Any]]:
    """Return the number of jobs by the hour when they were accepted and by their state now, oldest hour first."""
    # In UTC, because MariaDB knows other time zones only if somebody loaded their tables. Without USE_TZ, as stored.
    this = (now.astimezone(UTC) if settings.USE_TZ else now).replace(minute=0, second=0, microsecond=0)
    first = this - timedelta(hours=HOURS - 1)
    # With all states named, the index on (state, created_at) is enough, and the table is not read.
    jobs = jobs.filter(state__in=State.values, created_at__gte=first)
    hour = TruncHour("created_at", tzinfo=UTC)
    counts = {
        (row["hour"], row["state"]): row["count"]
        for row in jobs.annotate(hour=hour).values("hour", "state").annotate(count=Count("*"))
    }
    hours = [first + timedelta(hours=n) for n in range(HOURS)]
    return [{"hour": h, "counts": {str(s): counts.get((h, s), 0) for s in State}} for h in hours]


def _percentiles(jobs: JobQuerySet, since: datetime) -> dict[str, Any]:
    """Return median and 95th percentile of how long the newest jobs that succeeded waited and ran."""
    jobs = jobs.filter(state=State.SUCCEEDED, created_at__gte=since).order_by("-created_at")
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
