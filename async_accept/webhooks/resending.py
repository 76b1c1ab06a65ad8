"""Send deliveries again: with the same id, a fresh timestamp, and the whole schedule before them."""

from typing import Any
from uuid import UUID

from django.db import router
from django.db.models import F

from ..conf import conf
from ..db.functions import DatabaseNow, from_now
from ..db.transactions import after_commit
from .models import Delivery
from .publishing import publish_new
from .states import DeliveryState

__all__ = ["LIMIT", "resend"]

#: How many deliveries one go sends again.
LIMIT = 1_000


def resend(deliveries: Any) -> list[UUID]:
    """Let those of *deliveries* wait again that failed or were held back; return their ids, the oldest first.

    At most ``LIMIT`` in one go. Those of a disabled endpoint stay as they are.
    """
    chosen = deliveries.filter(state__in=[DeliveryState.FAILED, DeliveryState.HELD])
    chosen = chosen.filter(endpoint__disabled_at=None, endpoint__deleted_at=None).order_by("id")
    ids = list(chosen.values_list("pk", flat=True)[:LIMIT])
    if ids:
        _let_wait(ids)
        after_commit(publish_new, ids, using=router.db_for_write(Delivery))
    return ids


def _let_wait(ids: list[UUID]) -> None:
    Delivery.objects.resendable().filter(pk__in=ids).update(
        state=DeliveryState.WAITING,
        attempt=0,
        try_at=DatabaseNow(),
        publish_at=from_now(conf.REPUBLISH_AFTER),
        publishes=0,
        finished_at=None,
        sweep_at=F("created_at") + conf.JOB_LIFETIME,
    )
