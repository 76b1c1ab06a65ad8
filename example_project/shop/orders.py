"""Place orders. The order, its lines and its stock are stored in one transaction."""

import secrets
from collections.abc import Sequence

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from . import discounts, inventory
from .models import DiscountRule, Order, OrderLine, Product

__all__ = ["new_reference", "place"]


def new_reference() -> str:
    """Return a reference for an order without one."""
    return "W-" + secrets.token_hex(6).upper()


@transaction.atomic
def place(
    customer: AbstractBaseUser,
    reference: str,
    wanted: Sequence[tuple[Product, int]],
    *,
    code: str = "",
    note: str = "",
) -> Order:
    """Place an order, take its stock, and apply the discounts.

    Raises:
        inventory.OutOfStock: too few of a product are left. Nothing is stored.
        IntegrityError: the customer has used the reference before. Nothing is stored.
    """
    order = Order.objects.create(customer=customer, reference=reference, code=code, note=note)
    inventory.take(wanted)
    OrderLine.objects.bulk_create(
        OrderLine(order=order, product=product, quantity=quantity, unit_price=product.price)
        for product, quantity in wanted
    )
    return discounts.apply_discount(order, list(DiscountRule.objects.all()))
