from decimal import Decimal

import pytest

from example_project.shop.discounts import Price, cents, price
from example_project.shop.models import DiscountRule, OrderLine

DOZEN = DiscountRule(name="Dozen", min_quantity=12, percent=5)
CRATE = DiscountRule(name="Crate", min_quantity=24, percent=10)
CODE = DiscountRule(name="Welcome", code="WELCOME", min_quantity=1, percent=20)
RULES = [DOZEN, CRATE, CODE]


def line(quantity: int, unit_price: str = "1.00") -> OrderLine:
    return OrderLine(quantity=quantity, unit_price=Decimal(unit_price))


@pytest.mark.parametrize(
    ("quantity", "code", "discount"),
    [(11, "", "0.00"), (12, "", "0.60"), (24, "", "2.40"), (24, "WELCOME", "4.80"), (1, "OTHER", "0.00")],
)
def test_the_best_rule_applies_alone(quantity, code, discount):
    assert price([line(quantity)], RULES, code).discount == Decimal(discount)


def test_lines_are_discounted_each_by_itself():
    assert price([line(12), line(1)], RULES) == Price(discount=Decimal("0.60"), total=Decimal("12.40"))


def test_half_a_cent_is_rounded_up():
    assert cents(Decimal("1.005")) == Decimal("1.01")
