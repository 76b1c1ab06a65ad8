"""What no job may ever be, as queries that find nothing in a healthy system.

They are the promise of a 202, said of rows: each active job has a time after which something acts on it, and each one
that has ended has exactly one result or problem. The doctor asks them; a metric can, and a test that has just killed
every process does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django_celery_results.models import TaskResult

from ..db.functions import DatabaseNow
from ..models import Job, database
from ..querysets import GRACE, overdue, without_worker
from ..states import ACTIVE, FINAL, LEASED, State

__all__ = ["INVARIANTS", "Violation", "violations"]

#: How many of the newest successes are checked for their results: no query joins the two tables.
RESULTS_LOOKED_AT = 1000
#: How many ids a violation names.
SAMPLE = 5


@dataclass(frozen=True)
class Violation:
    """Jobs that should not be as they are."""

    name: str
    count: int
    #: At most ``SAMPLE`` of them.
    ids: list[UUID]
    #: Whether a relay, if one ran, would take care of them.
    relay_helps: bool = False

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.ids))
        return f"{self.count} jobs {self.name}: {shown}{', …' if self.count > len(self.ids) else ''}"


#: What no job may be, as it reads after "jobs", and the condition that finds such jobs, given the grace.
INVARIANTS: dict[str, Callable[[timedelta], Q]] = {
    "wait, and no relay has published them": overdue,
    "have lost their worker, and no relay has taken them": without_worker,
    "wait without a time to be published": lambda grace: Q(state=State.ACCEPTED, dispatch_at=None),
    "run without a lease": lambda grace: Q(state__in=LEASED, lease_until=None),
    "run without having been claimed": lambda grace: Q(state__in=LEASED, attempt=0),
    "have more attempts than they may": lambda grace: Q(attempt__gt=F("max_attempts")),
    "are active and have an end time": lambda grace: Q(state__in=ACTIVE, finished_at__isnull=False),
    "are active and have a result or a problem": lambda grace: (
        Q(state__in=ACTIVE) & (Q(response__isnull=False) | Q(problem__isnull=False))
    ),
    "have ended and hold a lease or wait to be published": lambda grace: (
        Q(state__in=FINAL) & (Q(lease_until__isnull=False) | Q(dispatch_at__isnull=False))
    ),
    "have ended and hold their active key": lambda grace: Q(state__in=FINAL, active_key__isnull=False),
    "have ended and are never purged": lambda grace: (
        Q(state__in=FINAL) & (Q(finished_at=None) | Q(expires_at=None) | Q(sweep_at=None))
    ),
    "succeeded without a result": lambda grace: Q(state=State.SUCCEEDED, response=None),
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
        jobs: the jobs to look at; all by default.
    """
    rows = (Job.objects.all() if jobs is None else jobs).using(database())
    for name, condition in INVARIANTS.items():
        found = rows.filter(condition(grace)).order_by()
        ids = list(found.values_list("pk", flat=True)[: SAMPLE + 1])
        if ids:
            count = len(ids) if len(ids) <= SAMPLE else found.count()
            yield Violation(name, count, ids[:SAMPLE], relay_helps=condition in (overdue, without_worker))
    missing = _without_result(rows)
    if missing:
        yield Violation("succeeded, and their result is gone", len(missing), missing[:SAMPLE])


def _without_result(rows: QuerySet[Job]) -> list[UUID]:
    """Return the newest succeeded jobs whose result should be kept, and is not."""
    kept = rows.filter(state=State.SUCCEEDED, expires_at__gt=DatabaseNow()).exclude(
        sweep_at__lt=DatabaseNow()
    )
    ids = list(kept.order_by("-created_at").values_list("pk", flat=True)[:RESULTS_LOOKED_AT])
    stored = set(
        TaskResult.objects.using(database())
        .filter(task_id__in=[str(pk) for pk in ids])
        .values_list("task_id", flat=True)
    )
    return [pk for pk in ids if str(pk) not in stored]
