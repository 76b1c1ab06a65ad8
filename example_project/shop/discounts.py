"""Discounts: for each line the best rule that applies; rules do not add up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from .models import DiscountRule, Order, OrderLine

__all__ = ["Price", "apply_discount", "cents", "price"]

_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Price:
    """What is taken off, and what is left to pay."""

    discount: Decimal
    total: Decimal


def cents(amount: Decimal) -> Decimal:
    """The amount in whole cents, halves rounded up as on a receipt."""
    return amount.quantize(_CENT, rounding=ROUND_HALF_UP)


def price(lines: Iterable[OrderLine], rules: Sequence[DiscountRule], code: str = "") -> Price:
    """What these lines cost with the best rule for each, given the customer's code (or none)."""
    full = discount = Decimal(0)
    for line in lines:
        amount = line.unit_price * line.quantity
        full += amount
        discount += cents(amount * _percent(rules, line.quantity, code) / 100)
    return Price(discount=cents(discount), total=cents(full - discount))


def apply_discount(order: Order, rules: Sequence[DiscountRule]) -> Order:
    """Write discount and total of a placed order; one that has moved on is left alone."""
    priced = price(order.lines.all(), rules, order.code)
    order.discount, order.total = priced.discount, priced.total
    Order.objects.filter(pk=order.pk, status=Order.Status.PLACED).update(
        discount=priced.discount, total=priced.total
    )
    return order


def _percent(rules: Sequence[DiscountRule], quantity: int, code: str) -> int:
    applicable = (
        rule.percent
        for rule in rules
        if quantity >= rule.min_quantity and (rule.code is None or rule.code == code)
    )
    return max(applicable, default=0)
