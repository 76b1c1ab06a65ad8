"""Remove what was kept for long enough: bodies first, then rows; and all that belongs to a deleted endpoint."""

from datetime import timedelta
from uuid import UUID

from django.db import router, transaction
from django.db.models import Exists, F, OuterRef, Q

from ..conf import conf
from ..db.functions import DatabaseNow, from_now
from ..jobs.broker import Broker
from ..models import Job, database_now
from . import circuits
from .models import Callback, Delivery, Endpoint
from .notices import number
from .states import TRIED, DeliveryState

__all__ = ["sweep"]

#: When a delivery that still waits is looked at again: a project may keep jobs for less time than the attempts take.
AGAIN = timedelta(days=1)
#: How many rows are removed at a time.
BATCH = 500


def sweep(broker: Broker | None = None, limit: int = BATCH) -> int:
    """Remove bodies and rows that are due, and rows of deleted endpoints; return how many were due."""
    rows = Delivery.objects.filter(sweep_at__lte=DatabaseNow()).order_by("sweep_at")
    due = list(rows.values_list("pk", flat=True)[:limit])
    if due:
        _sweep(due)
        circuits.tidy()
        _forget_callbacks()
    gone = Endpoint.objects.gone().first()
    return len(due) + (0 if gone is None else _remove(gone, limit))


def _forget_callbacks() -> None:
    """Remove the callbacks of jobs that are gone, or have told all there is to tell."""
    old = Callback.objects.filter(created_at__lt=database_now() - conf.JOB_LIFETIME)
    old.exclude(Exists(Job.objects.active().filter(pk=OuterRef("pk")))).delete()


def _sweep(ids: list[UUID]) -> None:
    """Sweep those of *ids* that are due still. What waits for an attempt stays, with its body, however old it is."""
    due = Delivery.objects.filter(pk__in=ids, sweep_at__lte=DatabaseNow())
    due.filter(state__in=TRIED).update(sweep_at=from_now(AGAIN))
    rows = due.exclude(state__in=TRIED)
    uncounted = rows.filter(state=DeliveryState.DROPPED, sequence=None).order_by()
    for endpoint in set(uncounted.values_list("endpoint", flat=True)):
        number(endpoint)
    old = Q(created_at__lte=database_now() - conf.JOB_LIFETIME) | Q(state=DeliveryState.DROPPED)
    with transaction.atomic(using=router.db_for_write(Delivery)):
        rows.filter(old).delete()
        rows.update(body=None, sweep_at=F("created_at") + conf.JOB_LIFETIME)


def _remove(endpoint: Endpoint, limit: int) -> int:
    ids = list(Delivery.objects.filter(endpoint=endpoint.pk).order_by().values_list("pk", flat=True)[:limit])
    Delivery.objects.filter(pk__in=ids).delete()
    if len(ids) < limit:
        Endpoint.objects.filter(pk=endpoint.pk).delete()
    return len(ids)
