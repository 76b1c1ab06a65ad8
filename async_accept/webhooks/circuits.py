"""A circuit for each host: one that does not answer costs a worker ten seconds a time, so it is left alone for a while.

After ``TOLERATED`` attempts without an answer nobody tries the host; after the pause, one delivery finds out for all.
"""

from datetime import timedelta

from django.db import router
from django.db.models import F, OuterRef, QuerySet, Subquery

from ..db.functions import DatabaseNow, from_now
from ..models import database_now
from .models import MOST_FAILURES, Delivery, Host

__all__ = ["admits", "answered", "closed", "failures", "pause", "tidy", "unanswered"]

#: How many attempts in a row may get no answer.
TOLERATED = 3
SHORTEST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=10)
#: A host that nobody has tried for so long is forgotten.
FORGOTTEN_AFTER = timedelta(days=7)


def failures() -> Subquery:
    """An annotation of deliveries: how many attempts at their host got no answer; NULL for none."""
    return Subquery(Host.objects.filter(pk=OuterRef("host")).values("failures")[:1])


def closed() -> QuerySet[Host]:
    """The hosts that nobody may try now."""
    rows: QuerySet[Host] = Host.objects.filter(failures__gte=TOLERATED, closed_until__gt=DatabaseNow())
    return rows


def pause(count: int) -> timedelta:
    """Return how long a host is left alone after *count* attempts without an answer."""
    doubled: int = 2 ** min(max(count - TOLERATED, 0), 10)
    return min(SHORTEST_PAUSE * doubled, LONGEST_PAUSE)


def admits(delivery: Delivery, count: int | None) -> bool:
    """Tell whether the delivery may try its host: if that did not answer lately, one of many may.

    Args:
        count: what ``failures()`` has found.
    """
    if count is None or count < TOLERATED:
        return True
    rows = Host.objects.filter(pk=delivery.host, closed_until__lte=DatabaseNow())
    return rows.update(closed_until=from_now(pause(count))) > 0


def unanswered(host: str, count: int | None) -> None:
    """Remember that an attempt got no answer."""
    until = from_now(pause((count or 0) + 1))
    rows = Host.objects.filter(pk=host, failures__lt=MOST_FAILURES)
    if not rows.update(failures=F("failures") + 1, closed_until=until):
        Host.objects.using(router.db_for_write(Host)).bulk_create(
            [Host(name=host, closed_until=until)], ignore_conflicts=True
        )


def answered(host: str, count: int | None) -> None:
    """Forget the failures of a host that has answered."""
    if count is not None:
        Host.objects.filter(pk=host).delete()


def tidy() -> None:
    """Forget hosts that nobody has tried for long."""
    Host.objects.filter(closed_until__lt=database_now() - FORGOTTEN_AFTER).delete()
