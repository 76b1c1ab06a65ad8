"""Questions about endpoints and deliveries. Each one touches an indexed, bounded range."""

from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.db import connections, models
from django.db.models import Q

from ..db.functions import DatabaseNow
from ..models import database_now
from .states import DeliveryState

if TYPE_CHECKING:
    from .models import Delivery, Endpoint

__all__ = ["LEASE", "DeliveryQuerySet", "EndpointQuerySet", "to_be_tried"]

#: How long an attempt may take until somebody else may send the delivery: more than its deadline.
LEASE = timedelta(seconds=60)


def to_be_tried() -> Q:
    """Return the condition for deliveries whose next attempt is due: they wait, or their sender is gone."""
    return Q(state=DeliveryState.WAITING, try_at__lte=DatabaseNow()) | Q(
        state=DeliveryState.SENDING, publish_at__lte=DatabaseNow()
    )


class EndpointQuerySet(models.QuerySet["Endpoint"]):
    """Endpoints, with the questions that are asked about them."""

    def alive(self) -> Self:
        return self.filter(deleted_at=None, owner__isnull=False)

    def enable(self) -> int:
        """Send again. What was held back meanwhile waits until somebody sends it again."""
        return self.update(disabled_at=None, disabled_by="", failures=0, failing_since=None)

    def gone(self) -> Self:
        """Endpoints that were deleted, or whose owner was: their rows go in batches."""
        settled = database_now() - LEASE  # a job that ends now may still know it
        return self.filter(Q(deleted_at__lt=settled) | Q(owner=None))


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Deliveries, with the questions that are asked about them."""

    def due(self) -> Self:
        """Deliveries that wait to be published, and those whose sender is gone."""
        return self.filter(publish_at__lte=DatabaseNow())

    def resendable(self) -> Self:
        """Deliveries that were not delivered, and that nobody tries to deliver."""
        return self.filter(state__in=[DeliveryState.FAILED, DeliveryState.HELD])

    def unlocked(self) -> Self:
        """Lock these rows in the caller's transaction, and leave out those that somebody else has locked."""
        features = connections[self.db].features
        if not features.has_select_for_update:
            return self
        return self.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
