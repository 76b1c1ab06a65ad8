"""The filters of the job list. Each reads a range of an index, and none counts how many jobs it would find."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Q, Subquery
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..db.functions import DatabaseNow
from ..models import Job, database, database_now
from ..querysets import JobQuerySet
from ..states import ACTIVE, LEASED, State
from .statistics import failed_lately, is_narrowed

__all__ = [
    "AttentionFilter",
    "CreatedFilter",
    "MineFilter",
    "OperationFilter",
    "StateFilter",
    "needs_attention",
    "of_owner",
    "operations",
    "waiting_too_long",
]

#: A job that waits longer needs attention.
TOO_LONG = timedelta(minutes=5)
#: How many operations the filter offers. The search finds all of them.
MOST_OPERATIONS = 100
#: How many operations are read from the database. They are names in code, so there are few.
MOST_NAMES = 1_000

#: MariaDB reads the index once for each operation, however many jobs there are.
DISTINCT = f"SELECT DISTINCT operation FROM {Job._meta.db_table} ORDER BY operation LIMIT %s"  # noqa: S608
#: The same for the others, whose DISTINCT would read every job.
LOOSE_SCAN = f"""
WITH RECURSIVE found (name) AS (
    SELECT MIN(operation) FROM {Job._meta.db_table}
    UNION ALL
    SELECT (SELECT MIN(operation) FROM {Job._meta.db_table} WHERE operation > found.name)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL LIMIT %s
"""  # noqa: S608 the table's own name


def operations(request: HttpRequest, model_admin: Any) -> list[str]:
    """Return the operations of the jobs that the admin shows, sorted by name.

    They are kept for one request only, so that an operation is found as soon as it has its first job.
    """
    names: list[str] | None = getattr(request, "_async_accept_operations", None)
    if names is None:
        jobs = model_admin.get_queryset(request)
        names = _operations_of(jobs) if is_narrowed(jobs) else _all_operations()
        request._async_accept_operations = names  # type: ignore[attr-defined]
    return names


def _operations_of(jobs: JobQuerySet) -> list[str]:
    """Return the operations of *jobs*."""
    return list(jobs.order_by("operation").values_list("operation", flat=True).distinct()[:MOST_NAMES])


def _all_operations() -> list[str]:
    connection = connections[database()]
    with connection.cursor() as cursor:
        cursor.execute(DISTINCT if connection.vendor == "mysql" else LOOSE_SCAN, [MOST_NAMES])
        return [name for (name,) in cursor.fetchall()]


def of_owner(jobs: JobQuerySet, **who: Any) -> JobQuerySet:
    """Return those of *jobs* that belong to the user with this value in this column: ``of_owner(jobs, pk=1)``.

    A subquery finds the user, even if the key is known. With the key itself, PostgreSQL may know that this owner has
    many jobs, and then looks for the newest by the primary key, through all jobs with random ids.
    """
    user = get_user_model()._default_manager.filter(**who).values("pk")[:1]
    return jobs.filter(owner=Subquery(user))


def waiting_too_long() -> Q:
    """Return the condition for jobs that could be claimed for a long time, and were not."""
    since = database_now() - TOO_LONG
    fresh = Q(attempt=0, created_at__lt=since)
    # A job that was given back first waits until dispatch_at, which the relay moves on each time it publishes the job.
    again = Q(attempt__gt=0) & (Q(dispatch_at__lt=since) | Q(dispatches__gt=2, updated_at__lt=since))
    return Q(state=State.ACCEPTED) & (fresh | again)


def needs_attention() -> Q:
    """Return the condition for jobs that wait too long, or whose lease ran out."""
    lost = Q(lease_until__isnull=False, lease_until__lt=DatabaseNow())
    return Q(state__in=ACTIVE) & (waiting_too_long() | lost)


class OneOf(admin.SimpleListFilter):
    """A filter with a few fixed choices."""

    choices_: Iterable[tuple[Any, Any]] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        return list(self.choices_)


class StateFilter(OneOf):
    """By a state, or by a group of states: not ended, at a worker, ended."""

    title = _("state")
    parameter_name = "state"
    choices_ = (
        *State.choices,
        ("active", _("not ended")),
        ("leased", _("at a worker")),
        ("ended", _("ended")),
    )

    def queryset(self, request: HttpRequest, queryset: Any) -> JobQuerySet | None:
        match self.value():
            case "active":
                return queryset.active()  # type: ignore[no-any-return]
            case "leased":
                return queryset.filter(state__in=LEASED)  # type: ignore[no-any-return]
            case "ended":
                return queryset.ended()  # type: ignore[no-any-return]
            case state if state in State.values:
                return queryset.filter(state=state)  # type: ignore[no-any-return]
        return None


class AttentionFilter(OneOf):
    """By what needs somebody's attention."""

    title = _("attention")
    parameter_name = "attention"
    choices_ = (
        ("any", _("needs attention")),
        ("waiting", _("waits for too long")),
        ("lost", _("worker is silent")),
        ("failed", _("failed in the past 24 hours")),
    )

    def queryset(self, request: HttpRequest, queryset: Any) -> JobQuerySet | None:
        match self.value():
            case "any":
                return queryset.filter(needs_attention())  # type: ignore[no-any-return]
            case "waiting":
                return queryset.filter(waiting_too_long())  # type: ignore[no-any-return]
            case "lost":
                return queryset.lease_lost()  # type: ignore[no-any-return]
            case "failed":
                return queryset.filter(failed_lately())  # type: ignore[no-any-return]
        return None


class OperationFilter(admin.SimpleListFilter):
    """By operation."""

    title = _("operation")
    parameter_name = "operation"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = operations(request, model_admin)[:MOST_OPERATIONS]
        if (chosen := self._chosen()) and chosen not in names:  # a URL may name any operation
            names.append(chosen)
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: Any) -> JobQuerySet | None:
        chosen = self._chosen()
        return queryset.filter(operation=chosen) if chosen else None

    def _chosen(self) -> str:
        return (self.value() or "").replace("\0", "")


class CreatedFilter(OneOf):
    """By age: the jobs of the past hour, day or week."""

    title = _("created")
    parameter_name = "created"
    choices_ = (("1h", _("past hour")), ("24h", _("past 24 hours")), ("7d", _("past 7 days")))
    spans = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}

    def queryset(self, request: HttpRequest, queryset: Any) -> JobQuerySet | None:
        # Not by the time in the ids: those of anonymous jobs are random.
        span = self.spans.get(self.value() or "")
        return queryset.filter(created_at__gte=database_now() - span) if span else None


class MineFilter(OneOf):
    """By owner: only the user's own jobs."""

    title = _("owner")
    parameter_name = "mine"
    choices_ = (("1", _("only mine")),)

    def queryset(self, request: HttpRequest, queryset: Any) -> JobQuerySet | None:
        return of_owner(queryset, pk=request.user.pk) if self.value() == "1" else None
