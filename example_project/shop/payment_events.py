"""The webhook of the payment provider: it tells when an order was paid."""

from typing import Any

from async_accept.receivers import ReceivedEvent, StandardWebhooksReceiver

from . import payments

__all__ = ["PaymentEvents"]


class PaymentEvents(StandardWebhooksReceiver):
    """Verifies and stores an event at once. A worker marks the order as paid, once."""

    secrets_setting = "PAYMENT_WEBHOOK_SECRETS"
    accept_operation = "payments.event"

    def order_key(self, event: ReceivedEvent) -> Any:
        return event.data["order"]

    def handle(self, event: ReceivedEvent) -> dict[str, Any]:
        order = payments.capture(event.data["order"], event.data["charge"])
        return {"reference": order.reference, "status": order.status}
