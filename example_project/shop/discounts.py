"""Discounts: each order line gets the best of the rules that apply to it, and only that one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from .models import DiscountRule, Order, OrderLine

__all__ = ["Price", "apply_discount", "cents", "price"]

_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Price:
    """The discount, and what is left to pay."""

    discount: Decimal
    total: Decimal


def cents(amount: Decimal) -> Decimal:
    """Round to whole cents, and half a cent up."""
    return amount.quantize(_CENT, rounding=ROUND_HALF_UP)


def price(lines: Iterable[OrderLine], rules: Sequence[DiscountRule], code: str = "") -> Price:
    """Return the price of these lines for a customer who gives this code, or no code."""
    full = discount = Decimal(0)
    for line in lines:
        amount = line.unit_price * line.quantity
        full += amount
        discount += cents(amount * _percent(rules, line.quantity, code) / 100)
    return Price(discount=cents(discount), total=cents(full - discount))


def apply_discount(order: Order, rules: Sequence[DiscountRule]) -> Order:
    """Store the discount and total of a placed order. An order in another state is not changed."""
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
