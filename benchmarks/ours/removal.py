"""Removing what was kept for long enough: how many rows a second, and the longest transaction."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django_celery_results.models import TaskResult

from async_accept.conf import conf
from async_accept.db.functions import from_now
from async_accept.jobs.relay import BATCH
from async_accept.jobs.retention import sweep
from async_accept.models import Job

__all__ = ["expire", "purge_rows"]


def purge_rows(count: int) -> dict[str, float]:
    """Let so many jobs, the oldest ones, be past their lifetime, and remove them."""
    return _measure(Job, Job.objects.ended().order_by("created_at"), count, conf.JOB_LIFETIME)


def expire(count: int) -> dict[str, float]:
    """Let so many results, the newest ones, expire, and remove them."""
    kept = list(TaskResult.objects.order_by("-pk").values_list("task_id", flat=True)[:count])
    return _measure(TaskResult, Job.objects.ended().filter(pk__in=kept), count, conf.RESULT_LIFETIME)


def _measure(model: Any, jobs: Any, count: int, older: timedelta) -> dict[str, float]:
    """Remove the rows of *model* that belong to the first of these *jobs*."""
    ids = list(jobs.values_list("pk", flat=True)[:count])
    before = model.objects.count()
    now = from_now(timedelta())
    Job.objects.filter(pk__in=ids).update(finished_at=F("finished_at") - older, expires_at=now, sweep_at=now)
    cpu, began = time.process_time(), time.perf_counter()
    with longest_transaction() as longest:
        while sweep(BATCH):
            pass
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    removed = before - model.objects.count()
    if removed != count:
        raise SystemExit(f"{removed} rows of {count} were removed.")
    return {"count": removed, "seconds": seconds, "cpu": cpu, "longest": longest()}


@contextmanager
def longest_transaction() -> Iterator[Callable[[], float]]:
    """Yield what returns the seconds of the longest transaction of this block."""
    enter, leave = transaction.Atomic.__enter__, transaction.Atomic.__exit__
    depth, began, longest = 0, 0.0, 0.0

    def timed_enter(self: Any) -> None:
        nonlocal depth, began
        if depth == 0:
            began = time.perf_counter()
        depth += 1
        enter(self)

    def timed_leave(self: Any, *error: Any) -> None:
        nonlocal depth, longest
        leave(self, *error)
        depth -= 1
        if depth == 0:
            longest = max(longest, time.perf_counter() - began)

    transaction.Atomic.__enter__, transaction.Atomic.__exit__ = timed_enter, timed_leave  # type: ignore[method-assign]
    try:
        yield lambda: longest
    finally:
        transaction.Atomic.__enter__, transaction.Atomic.__exit__ = enter, leave  # type: ignore[method-assign]
