"""The states of a delivery."""

from django.db.models import TextChoices
from django.utils.translation import pgettext_lazy

__all__ = ["OPEN", "TRIED", "DeliveryState", "DisabledBy"]


class DeliveryState(TextChoices):
    """The state of a delivery."""

    #: Waits for its first or next attempt.
    WAITING = "waiting", pgettext_lazy("delivery", "waiting")
    #: A worker sends it now.
    SENDING = "sending", pgettext_lazy("delivery", "sending")
    #: The receiver answered 2xx.
    DELIVERED = "delivered", pgettext_lazy("delivery", "delivered")
    #: Every attempt failed (a dead letter). It can be sent again.
    FAILED = "failed", pgettext_lazy("delivery", "failed")
    #: Its endpoint was disabled. It can be sent again.
    HELD = "held", pgettext_lazy("delivery", "held back")
    #: Too many others waited for the endpoint. It is not sent, but counted: the receiver sees the gap.
    DROPPED = "dropped", pgettext_lazy("delivery", "dropped")


#: States in which a delivery is tried, or waits for its next attempt.
TRIED = (DeliveryState.WAITING, DeliveryState.SENDING)
#: States in which a delivery waits for something.
OPEN = (*TRIED, DeliveryState.HELD)


class DisabledBy(TextChoices):
    """Why an endpoint is disabled."""

    OWNER = "owner", pgettext_lazy("endpoint disabled by", "its owner")
    STAFF = "staff", pgettext_lazy("endpoint disabled by", "staff")
    #: Nothing was delivered for days, or the receiver answered 410.
    FAILING = "failing", pgettext_lazy("endpoint disabled by", "failing deliveries")
