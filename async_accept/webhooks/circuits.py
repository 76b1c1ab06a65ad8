"""A circuit for each host, so that one that does not answer, or answers slowly, costs the others nothing.

An attempt may take ten seconds of a worker. After ``TOLERATED`` attempts without an answer nobody tries the host; after
the pause, one delivery finds out for all. A host that answers slowly gets ``FEW`` deliveries at a time.
"""

import random
from datetime import timedelta

from django.db.models import F, OuterRef, QuerySet, Subquery

from ..db.functions import DatabaseNow, from_now
from ..models import database_now
from .models import MOST_FAILURES, Delivery, Host
from .states import DeliveryState

__all__ = ["admits", "answered", "closed", "failures", "put_off", "tidy", "unanswered"]

#: An answer that takes longer is slow.
SLOW_SECONDS = 3.0
#: How many deliveries a slow host gets at a time.
FEW = 4
#: The next one begins so much later: until then the one before can be counted.
GAP = timedelta(seconds=0.1)
#: For how long the others wait at least: whoever comes back too early costs a worker time.
SLOW_PAUSE = timedelta(seconds=30)
#: How many attempts in a row may get no answer.
TOLERATED = 3
SHORTEST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=10)
#: A host that nobody has tried for so long is forgotten.
FORGOTTEN_AFTER = timedelta(days=7)


def failures() -> Subquery:
    """An annotation of deliveries: how many attempts at their host got no answer; 0 if it is slow; else NULL."""
    return Subquery(Host.objects.filter(pk=OuterRef("host")).values("failures")[:1])


def closed() -> QuerySet[Host]:
    """The hosts that nobody may try now."""
    rows: QuerySet[Host] = Host.objects.filter(failures__gte=TOLERATED, closed_until__gt=DatabaseNow())
    return rows


def admits(delivery: Delivery, count: int | None) -> bool:
    """Tell whether the delivery may try its host.

    If that did not answer lately, one of many may; if it is slow, few may at a time.

    Args:
        count: what ``failures()`` has found.
    """
    if count is None or 0 < count < TOLERATED:
        return True
    rows = Host.objects.filter(pk=delivery.host, closed_until__lte=DatabaseNow())
    if count:
        return rows.update(closed_until=from_now(_pause(count))) > 0
    sending = Delivery.objects.filter(host=delivery.host, state=DeliveryState.SENDING)
    last_of_few = sending.filter(publish_at__gt=DatabaseNow()).order_by().values("pk")[FEW - 1 : FEW]
    rows = rows.annotate(last_of_few=Subquery(last_of_few)).filter(last_of_few=None)
    return bool(rows.update(closed_until=from_now(GAP)))


def put_off(delivery: Delivery, count: int | None) -> None:
    """Let the delivery wait without an attempt.

    What has waited for long waits longer: else thousands that wait for a slow host would come back all the time.
    """
    waited = database_now() - delivery.created_at
    shortest = max(_pause(count) if count else SLOW_PAUSE, min(waited / 2, LONGEST_PAUSE))
    delivery.put_off(shortest * (1 + random.random()))  # noqa: S311 no secret


def _pause(count: int) -> timedelta:
    """Return how long a host is left alone after *count* attempts without an answer."""
    doubled: int = 2 ** min(max(count - TOLERATED, 0), 10)
    return min(SHORTEST_PAUSE * doubled, LONGEST_PAUSE)


def unanswered(host: str, count: int | None) -> None:
    """Remember that an attempt got no answer."""
    until = from_now(_pause((count or 0) + 1))
    rows = Host.objects.filter(pk=host, failures__lt=MOST_FAILURES)
    if not rows.update(failures=F("failures") + 1, closed_until=until):
        Host.objects.bulk_create([Host(name=host, closed_until=until)], ignore_conflicts=True)


def answered(host: str, count: int | None, seconds: float) -> None:
    """Forget the failures of a host that has answered; remember that it is slow.

    Args:
        seconds: how long its answer took.
    """
    if seconds > SLOW_SECONDS:
        _is_slow(host, count)
    elif count is not None:
        Host.objects.filter(pk=host).delete()


def _is_slow(host: str, count: int | None) -> None:
    if count is None:
        Host.objects.bulk_create(
            [Host(name=host, failures=0, closed_until=database_now())], ignore_conflicts=True
        )
    elif count:
        Host.objects.filter(pk=host).update(failures=0, closed_until=DatabaseNow())


def tidy() -> None:
    """Forget hosts that nobody has tried for long."""
    Host.objects.filter(closed_until__lt=database_now() - FORGOTTEN_AFTER).delete()
