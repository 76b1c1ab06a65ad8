"""Pay orders: first charge at the gateway, then store its answer.

A worker may be killed between the two. Then the order is still `placed`, and the next attempt gets the same charge,
because it sends the same key.
Each change of an order locks its row. If an order is canceled while it is charged, it ends canceled, and the money is
given back.
"""

import time

from django.conf import settings
from django.db import transaction

from . import gateway, inventory
from .models import GatewayCharge, Order, Payment

__all__ = ["cancel", "capture", "pay", "release"]

# How often to call a gateway that does not answer, in all.
_CALLS = 3
# How many orders one transaction releases. More would keep the products locked for longer.
_CHUNK = 100


def pay(order: Order) -> Order:
    """Charge a placed order and store the gateway's answer. Return the order with its new state.

    An order that is not `placed` is returned unchanged.

    Raises:
        GatewayTimeout: the gateway does not answer. The order stays placed, and it is safe to call this again.
    """
    if order.status != Order.Status.PLACED:
        return order
    return _record(order, _charge(order))


def capture(order: int, charge: str) -> Order:
    """Mark a placed order as paid, because the provider says so. Return it; in another state it is unchanged.

    Args:
        order: its primary key.
        charge: the provider's id of the charge.

    Raises:
        Order.DoesNotExist: there is no such order.
    """
    with transaction.atomic():
        locked = Order.objects.select_for_update().get(pk=order)
        if locked.status == Order.Status.PLACED:
            Payment.objects.create(
                order=locked,
                idempotency_key=locked.payment_key,
                gateway_id=charge,
                status=Payment.Status.CAPTURED,
                amount=locked.total,
            )
            _end(locked, Order.Status.PAID)
    return locked


def release(*orders: Order) -> list[Order]:
    """Cancel unpaid orders and give back their stock. Return the orders with their new states.

    If the gateway has charged an order already, it becomes paid or declined instead.
    """
    ended = []
    for start in range(0, len(orders), _CHUNK):
        charges = [(order, gateway.find(order.payment_key)) for order in orders[start : start + _CHUNK]]
        ended += [_record(order, charge) for order, charge in charges if charge]
        ended += _cancel(*(order for order, charge in charges if not charge))
    return ended


def cancel(order: Order) -> Order:
    """Cancel a placed order and give back its stock. An order in another state is returned unchanged."""
    (ended,) = _cancel(order)
    return ended


def _cancel(*orders: Order) -> list[Order]:
    # Lock orders before products, and both in the order of their keys, to avoid deadlocks.
    with transaction.atomic():
        keys = [order.pk for order in orders]
        locked = list(Order.objects.select_for_update().filter(pk__in=keys).order_by("pk"))
        placed = [order for order in locked if order.status == Order.Status.PLACED]
        for order in placed:
            _end(order, Order.Status.CANCELED)
        inventory.give_back(*placed)
    return locked


def _charge(order: Order) -> GatewayCharge:
    for call in range(1, _CALLS):
        try:
            return gateway.charge(order.payment_key, order.total, order.reference)
        except gateway.GatewayTimeout:
            time.sleep(settings.GATEWAY_SECONDS * call)
    return gateway.charge(order.payment_key, order.total, order.reference)


def _record(order: Order, charge: GatewayCharge) -> Order:
    """Store the gateway's answer once, under a lock on the order."""
    with transaction.atomic():
        locked = _lock(order)
        current = charge.key == locked.payment_key
        if current and locked.status == Order.Status.PLACED:
            approved = charge.state == GatewayCharge.State.APPROVED
            _write_payment(locked, charge, captured=approved)
            # The amount that was charged counts, even if the price has changed since.
            locked.total = charge.amount
            _end(locked, Order.Status.PAID if approved else Order.Status.DECLINED)
            if not approved:
                inventory.give_back(locked)
        unwanted = not current or locked.status == Order.Status.CANCELED
    if unwanted:
        # The order was canceled while it was charged. Outside the transaction, as all calls of the gateway.
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
