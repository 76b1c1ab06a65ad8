"""Paying for orders: ask the gateway first, write down its word second.

A worker may die between the two. Then the order is still `placed`, the gateway knows its key, and the next
attempt finds the charge instead of making another. Whoever writes holds the order's row, so an order that
is canceled and charged at the same moment ends canceled, with the money given back.
"""

import time

from django.conf import settings
from django.db import transaction

from . import gateway, inventory
from .models import GatewayCharge, Order, Payment

__all__ = ["cancel", "pay", "release"]

CALLS = 3
"""How often the gateway is asked before its silence is believed."""

# So many orders are released in one transaction: quick, and nobody waits long for their products.
_CHUNK = 100


def pay(order: Order) -> Order:
    """Charge a placed order and record what the gateway said; another order comes back as it is.

    Returns: the order as it now stands in the database.

    Raises: GatewayTimeout when the gateway stays silent; the order stays placed, and paying again is safe.
    """
    if order.status != Order.Status.PLACED:
        return order
    return _record(order, _charge(order))


def release(*orders: Order) -> list[Order]:
    """End unpaid orders: canceled, stock given back; one that the gateway has charged is settled instead.

    Returns: the orders as they now stand in the database.
    """
    ended = []
    for start in range(0, len(orders), _CHUNK):
        charges = [(order, gateway.find(order.payment_key)) for order in orders[start : start + _CHUNK]]
        ended += [_record(order, charge) for order, charge in charges if charge]
        ended += _cancel(*(order for order, charge in charges if not charge))
    return ended


def cancel(order: Order) -> Order:
    """Cancel a placed order and give its stock back; one that has moved on comes back as it is."""
    (ended,) = _cancel(order)
    return ended


def _cancel(*orders: Order) -> list[Order]:
    # Orders are locked before products, both in the order of their keys: nobody waits in a circle.
    with transaction.atomic():
        keys = [order.pk for order in orders]
        locked = list(Order.objects.select_for_update().filter(pk__in=keys).order_by("pk"))
        placed = [order for order in locked if order.status == Order.Status.PLACED]
        for order in placed:
            _end(order, Order.Status.CANCELED)
        inventory.give_back(*placed)
    return locked


def _charge(order: Order) -> GatewayCharge:
    for call in range(1, CALLS + 1):
        try:
            return gateway.charge(order.payment_key, order.total, order.reference)
        except gateway.GatewayTimeout:
            if call == CALLS:
                raise
            time.sleep(settings.GATEWAY_SECONDS * call)
    raise AssertionError("unreachable")


def _record(order: Order, charge: GatewayCharge) -> Order:
    """Write the gateway's word down, once; the order's row is held meanwhile."""
    with transaction.atomic():
        locked = _lock(order)
        current = charge.key == locked.payment_key
        if current and locked.status == Order.Status.PLACED:
            approved = charge.state == GatewayCharge.State.APPROVED
            _write_payment(locked, charge, captured=approved)
            # The money that moved is the truth, should the price have changed since a first attempt to pay.
            locked.total = charge.amount
            _end(locked, Order.Status.PAID if approved else Order.Status.DECLINED)
            if not approved:
                inventory.give_back(locked)
        unwanted = not current or locked.status == Order.Status.CANCELED
    if unwanted:
        # Somebody canceled the order while it was charged. Like every call there, outside the transaction.
        gateway.refund(charge.key)
    return locked


def _write_payment(order: Order, charge: GatewayCharge, *, captured: bool) -> None:
    status = Payment.Status.CAPTURED if captured else Payment.Status.DECLINED
    Payment.objects.create(
        order=order,
        idempotency_key=charge.key,
        gateway_id=charge.charge_id,
        status=status,
        amount=charge.amount,
    )


def _lock(order: Order) -> Order:
    return Order.objects.select_for_update().get(pk=order.pk)


def _end(order: Order, status: str) -> None:
    order.status = status
    order.save(update_fields=["status", "total"])
