"""Placing orders: the order, its lines and its stock appear together or not at all."""

import secrets
from collections.abc import Sequence

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from . import discounts, inventory
from .models import DiscountRule, Order, OrderLine, Product

__all__ = ["new_reference", "place"]


def new_reference() -> str:
    """A reference for a customer who gives none."""
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
    """Place a priced order and take its stock.

    Raises: inventory.OutOfStock when too little is left, IntegrityError when the customer has used the
    reference before; then nothing is stored.
    """
    order = Order.objects.create(customer=customer, reference=reference, code=code, note=note)
    inventory.take(wanted)
    OrderLine.objects.bulk_create(
        OrderLine(order=order, product=product, quantity=quantity, unit_price=product.price)
        for product, quantity in wanted
    )
    return discounts.apply_discount(order, list(DiscountRule.objects.all()))
