"""What is true of the table of jobs at every moment, as queries that find nothing in a healthy system.

The promise of a 202 in the terms of rows: every open job has a time after which something acts on it, and every final
one has its only outcome. The doctor asks, a metric can, and so does a test that has just killed everything.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django_celery_results.models import TaskResult

from ..db.functions import DatabaseNow, from_now
from ..models import Job, database
from ..states import ACTIVE, FINAL, LEASED, State

__all__ = ["GRACE", "INVARIANTS", "Violation", "violations"]

#: For how long the relay may be late before an open job counts as forgotten.
GRACE = timedelta(seconds=60)
#: How many of the youngest successes are looked at for their results: no query joins the two tables.
RESULTS_LOOKED_AT = 1000
#: How many ids are told.
SAMPLE = 5


@dataclass(frozen=True)
class Violation:
    """Jobs that should not be as they are."""

    name: str
    count: int
    #: Some of them.
    ids: list[UUID]

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.ids))
        return f"{self.count} jobs {self.name}: {shown}{', …' if self.count > len(self.ids) else ''}"


#: What no job may be, as it reads after "jobs", and the condition that finds such jobs.
INVARIANTS: dict[str, Callable[[timedelta], Q]] = {
    "wait, and nobody has rung for them": lambda grace: Q(
        state=State.ACCEPTED, dispatch_at__lt=from_now(-grace)
    ),
    "have lost their worker, and nobody has taken them": lambda grace: Q(
        state__in=LEASED, lease_until__lt=from_now(-grace)
    ),
    "wait without a time to be rung for": lambda grace: Q(state=State.ACCEPTED, dispatch_at=None),
    "run without a lease": lambda grace: Q(state__in=LEASED, lease_until=None),
    "run without having been claimed": lambda grace: Q(state__in=LEASED, attempt=0),
    "have more attempts than they may": lambda grace: Q(attempt__gt=F("max_attempts")),
    "are open and have ended": lambda grace: Q(state__in=ACTIVE, finished_at__isnull=False),
    "are open and have an outcome": lambda grace: (
        Q(state__in=ACTIVE) & (Q(response__isnull=False) | Q(problem__isnull=False))
    ),
    "have ended and hold a lease": lambda grace: (
        Q(state__in=FINAL) & (Q(lease_until__isnull=False) | Q(dispatch_at__isnull=False))
    ),
    "have ended and hold their active key": lambda grace: Q(state__in=FINAL, active_key__isnull=False),
    "have ended and are never swept": lambda grace: (
        Q(state__in=FINAL) & (Q(finished_at=None) | Q(expires_at=None) | Q(sweep_at=None))
    ),
    "succeeded without an answer": lambda grace: Q(state=State.SUCCEEDED, response=None),
    "succeeded with a problem": lambda grace: Q(state=State.SUCCEEDED, problem__isnull=False),
    "succeeded without an attempt": lambda grace: Q(state=State.SUCCEEDED, attempt=0),
    "failed or were canceled without a problem": lambda grace: Q(
        state__in=[State.FAILED, State.CANCELED], problem=None
    ),
    "are in a state that does not exist": lambda grace: ~Q(state__in=State.values),
}


def violations(grace: timedelta = GRACE, jobs: QuerySet[Job] | None = None) -> Iterator[Violation]:
    """Yield what is wrong with the jobs; nothing in a healthy system. It reads the whole table.

    Args:
        grace: how late the relay may be.
        jobs: look at these only.
    """
    rows = (Job.objects.all() if jobs is None else jobs).using(database())
    for name, condition in INVARIANTS.items():
        found = rows.filter(condition(grace)).order_by()
        ids = list(found.values_list("pk", flat=True)[: SAMPLE + 1])
        if ids:
            yield Violation(name, len(ids) if len(ids) <= SAMPLE else found.count(), ids[:SAMPLE])
    without = _without_result(rows)
    if without:
        yield Violation("succeeded, and their result is gone", len(without), without[:SAMPLE])


def _without_result(rows: QuerySet[Job]) -> list[UUID]:
    kept = rows.filter(state=State.SUCCEEDED, expires_at__gt=timezone.now()).exclude(
        sweep_at__lt=DatabaseNow()
    )
    ids = list(kept.order_by("-created_at").values_list("pk", flat=True)[:RESULTS_LOOKED_AT])
    stored = set(
        TaskResult.objects.using(database())
        .filter(task_id__in=[str(pk) for pk in ids])
        .values_list("task_id", flat=True)
    )
    return [pk for pk in ids if str(pk) not in stored]
