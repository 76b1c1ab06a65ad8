"""What is now, asked of the table at the scrape: how many jobs wait and run, and how late anything is."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.core.cache import cache
from django.db import Error
from django.db.models import Count, Min, Q, Subquery
from django.db.models.functions import Coalesce
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ...conf import conf
from ...db.functions import CountOf
from ...jobs.duties import Once
from ...models import Job, database_now
from ...states import ACTIVE, LEASED, State
from .names import OTHER, first

__all__ = ["JobsCollector"]

logger = logging.getLogger(__name__)

#: For how many seconds an answer of the database is kept, for all processes that share a cache.
CACHE_SECONDS = 5
CACHE_KEY = "async_accept.prometheus"
#: Counting stops here, with the jobs that wait for the longest.
MOST = 50_000

_said = Once()


class JobsCollector(Collector):
    """Asks the database at the scrape, at most every five seconds; register it beside any other collector.

    Args:
        operations: which operations have a series even if no job of them is active.
    """

    def __init__(self, operations: Iterable[str] = ()) -> None:
        self.operations = operations

    def describe(self) -> Iterable[Metric]:
        """Name nothing: a registry must not ask the database when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; none if the database does not answer, so that ``absent()`` tells."""
        try:
            found = _figures()
        except Error as error:
            if _said.is_new("read", error):
                logger.warning("The jobs cannot be counted for Prometheus: %s", type(error).__name__)
            return
        _said.works("read")
        yield from _of_jobs(found, set(self.operations))
        if "deliveries" in found:
            yield from _of_deliveries(found["deliveries"])


# --- Show ---------------------------------------------------------------------------------------------------


def _of_jobs(found: dict[str, Any], known: set[str]) -> Iterator[Metric]:
    rows = found["rows"]
    named = first({*known, *(operation for operation, *_ in rows)})
    numbers = {(operation, state.value): 0 for operation in named for state in ACTIVE}
    oldest = dict.fromkeys(named, 0.0)
    for operation, state, count, age in rows:
        label = operation if operation in named else OTHER
        numbers[label, state] += count
        oldest[label] = max(oldest[label], age)
    jobs = GaugeMetricFamily("async_accept_jobs", "Active jobs.", labels=["operation", "state"])
    for labels, number in sorted(numbers.items()):
        jobs.add_metric(labels, number)
    yield jobs
    ages = GaugeMetricFamily(
        "async_accept_oldest_waiting_seconds",
        "The age of the oldest job that waits for its first attempt.",
        labels=["operation"],
    )
    for operation, age in sorted(oldest.items()):
        ages.add_metric([operation], age)
    yield ages
    yield GaugeMetricFamily(
        "async_accept_jobs_stalled", "Active jobs on which nothing acts.", value=found["stalled"]
    )
    yield GaugeMetricFamily(
        "async_accept_relay_lag_seconds",
        "By how much the time to publish a waiting job is past.",
        value=found["relay_lag"],
    )
    yield GaugeMetricFamily(
        "async_accept_heartbeat_lag_seconds",
        "How long ago the lease of a running job was prolonged.",
        value=found["heartbeat_lag"],
    )


def _of_deliveries(found: dict[str, Any]) -> Iterator[Metric]:
    open_ones = GaugeMetricFamily("async_accept_deliveries", "Open webhook deliveries.", labels=["state"])
    for state, number in found["numbers"].items():
        open_ones.add_metric([state], number)
    yield open_ones
    yield GaugeMetricFamily(
        "async_accept_delivery_lag_seconds",
        "By how much the time of a waiting delivery is past.",
        value=found["lag"],
    )


# --- Ask ----------------------------------------------------------------------------------------------------


def _figures() -> dict[str, Any]:
    with suppress(Exception):  # every cache has exceptions of its own, and none may cost the metrics
        kept: dict[str, Any] | None = cache.get(CACHE_KEY)
        if kept is not None:
            return kept
    found = _ask_jobs(database_now())
    if apps.is_installed("async_accept.webhooks"):
        found["deliveries"] = _ask_deliveries(database_now())
    with suppress(Exception):
        cache.set(CACHE_KEY, found, CACHE_SECONDS)
    return found


def _ask_jobs(now: datetime) -> dict[str, Any]:
    """Ask once; each part reads a short range of an index.

    Of jobs that wait, the oldest ``MOST`` are counted: the time of the next one is the bound.
    """
    waiting = Job.objects.filter(state=State.ACCEPTED).order_by("created_at")
    bound = Coalesce(Subquery(waiting.values("created_at")[MOST : MOST + 1]), now + timedelta(days=1))
    first_due = Job.objects.filter(dispatch_at__isnull=False).order_by("dispatch_at")
    first_lease = Job.objects.filter(lease_until__isnull=False).order_by("lease_until")
    counted = Job.objects.filter(Q(state=State.ACCEPTED, created_at__lt=bound) | Q(state__in=LEASED))
    rows = list(
        counted.order_by()
        .values_list("operation", "state")
        .annotate(
            count=Count("pk"),
            oldest=Min("created_at", filter=Q(state=State.ACCEPTED, attempt=0)),
            due=Subquery(first_due.values("dispatch_at")[:1]),
            lease=Subquery(first_lease.values("lease_until")[:1]),
            stalled=CountOf(Job.objects.stalled(), MOST),
        )
    )
    due, lease, stalled = rows[0][4:] if rows else (None, None, 0)
    return {
        "rows": [
            (operation, state, count, _past(oldest, now)) for operation, state, count, oldest, *_ in rows
        ],
        "relay_lag": _past(due, now),
        "heartbeat_lag": _past(lease and lease - conf.LEASE, now),
        "stalled": stalled,
    }


def _ask_deliveries(now: datetime) -> dict[str, Any]:
    from ...webhooks.models import Delivery
    from ...webhooks.states import OPEN

    publish_at = Delivery.objects.filter(publish_at__isnull=False).order_by("publish_at")
    numbers = {state.value: CountOf(Delivery.objects.filter(state=state), MOST) for state in OPEN}
    # Subqueries need a row to be selected with, and any delivery will do. Without one, all figures are 0.
    rows = Delivery.objects.order_by("-pk").values(
        **numbers, due=Subquery(publish_at.values("publish_at")[:1])
    )
    found: dict[str, Any] = dict(next(iter(rows[:1]), {**dict.fromkeys(numbers, 0), "due": None}))
    return {"lag": _past(found.pop("due"), now), "numbers": found}


def _past(moment: datetime | None, now: datetime) -> float:
    """Return how many seconds *moment* is past; 0 for one that is to come."""
    return 0.0 if moment is None else max((now - moment).total_seconds(), 0.0)
