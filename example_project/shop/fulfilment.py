"""Fulfil a batch of orders, with one short transaction for each step of each order.

Each step looks at the order first, and does only what is missing. So after a worker was killed, the next attempt runs
the whole batch again, and continues where the first one stopped.
"""

import csv
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction

from . import discounts, gateway, inventory, payments
from .models import DiscountRule, Order, OrderLine, Product
from .results import BatchEntry, BatchResult, BatchSummary

__all__ = ["Batch", "Row"]

# SQLite limits the number of parameters of a statement.
_CHUNK = 500

_REASONS = {
    Order.Status.PLACED: "The payment gateway does not answer. Send the order again to settle it.",
    Order.Status.DECLINED: "The payment was declined.",
    Order.Status.OUT_OF_STOCK: "Too few are left.",
    Order.Status.CANCELED: "Canceled before it was paid.",
}


@dataclass(frozen=True)
class Row:
    """One row of the batch."""

    number: int
    reference: str
    sku: str
    quantity: int
    code: str = ""


class Batch:
    """The orders that one customer sent together."""

    def __init__(self, customer: AbstractBaseUser, orders: list[dict[str, Any]]) -> None:
        self.customer = customer
        self.rows = [Row(number=number, **order) for number, order in enumerate(orders, 1)]
        self.products = {product.sku: product for product in Product.objects.all()}
        self.rules = list(DiscountRule.objects.all())
        self.codes = {rule.code for rule in self.rules if rule.code}
        # Why a row did not become an order, by its reference.
        self.rejected: dict[str, str] = {}

    # --- The three stages --------------------------------------------------------------------------

    def reserve(self, row: Row) -> None:
        """Place the row's order and take its stock, unless an earlier attempt did so."""
        product = self.products.get(row.sku)
        if product is None:
            self.rejected[row.reference] = f"There is no product {row.sku}."
        elif row.code and row.code not in self.codes:
            self.rejected[row.reference] = f"There is no discount code {row.code}."
        else:
            try:
                self._place(row, product)
            except IntegrityError:
                # Another worker placed it at the same moment.
                self._place(row, product)

    def discount(self, order: Order) -> None:
        """Price a placed order."""
        time.sleep(settings.PRICING_SECONDS)
        discounts.apply_discount(order, self.rules)

    def pay(self, order: Order) -> None:
        """Charge a placed order. If the gateway does not answer, the order stays placed, and the result says so."""
        try:
            payments.pay(order)
        except gateway.GatewayTimeout:
            return

    # --- Around them -------------------------------------------------------------------------------

    def unpaid(self) -> list[Order]:
        """Return the orders of this batch that are placed, but not paid or canceled."""
        return [order for order in self._orders() if order.status == Order.Status.PLACED]

    def release(self) -> tuple[int, int]:
        """Cancel the unpaid orders and give back their stock. Return how many are paid, and how many canceled."""
        payments.release(*self.unpaid())
        states = [order.status for order in self._orders()]
        return states.count(Order.Status.PAID), states.count(Order.Status.CANCELED)

    def result(self) -> BatchResult:
        """Return what became of each row."""
        found = {order.reference: order for order in self._orders()}
        orders = [self._entry(row, found.get(row.reference)) for row in self.rows]
        failures = [entry for entry in orders if entry["outcome"] != Order.Status.PAID]
        return {
            "summary": _summary(orders),
            "orders": orders,
            "errors": failures,
            "errors_csv": _as_csv(failures),
        }

    def _orders(self) -> Iterator[Order]:
        references = [row.reference for row in self.rows if row.reference not in self.rejected]
        mine = Order.objects.filter(customer=self.customer).prefetch_related("lines")
        for start in range(0, len(references), _CHUNK):
            yield from mine.filter(reference__in=references[start : start + _CHUNK])

    @transaction.atomic
    def _place(self, row: Row, product: Product) -> None:
        mine = Order.objects.select_for_update().filter(customer=self.customer, reference=row.reference)
        order = mine.prefetch_related("lines").first()
        if order is None:
            order = Order.objects.create(customer=self.customer, reference=row.reference, code=row.code)
            order.lines.create(product=product, quantity=row.quantity, unit_price=product.price)
        elif not _same(order, row, product):
            self.rejected[row.reference] = "This reference belongs to another order of yours."
            return
        elif order.status == Order.Status.CANCELED:
            order.placing += 1
        else:
            return
        order.status = _reserved(product, row.quantity)
        order.save(update_fields=["status", "placing"])

    def _entry(self, row: Row, order: Order | None) -> BatchEntry:
        if order is None:
            outcome, amount = "rejected", Decimal(0)
            reason = self.rejected.get(row.reference, "The order is gone.")
        else:
            outcome, reason = order.status, _REASONS.get(Order.Status(order.status), "")
            amount = order.total if outcome == Order.Status.PAID else Decimal(0)
        return {
            "row": row.number,
            "reference": row.reference,
            "sku": row.sku,
            "quantity": row.quantity,
            "outcome": outcome,
            "amount": str(discounts.cents(amount)),
            "reason": reason,
        }


def _reserved(product: Product, quantity: int) -> str:
    try:
        inventory.take([(product, quantity)])
    except inventory.OutOfStock:
        return Order.Status.OUT_OF_STOCK
    return Order.Status.PLACED


def _same(order: Order, row: Row, product: Product) -> bool:
    lines: list[OrderLine] = list(order.lines.all())
    return (
        len(lines) == 1
        and (lines[0].product_id, lines[0].quantity) == (product.pk, row.quantity)
        and order.code == row.code
    )


def _summary(orders: list[BatchEntry]) -> BatchSummary:
    outcomes = [order["outcome"] for order in orders]
    counts = {name: outcomes.count(name) for name in ("paid", "declined", "out_of_stock")}
    # These are rare, so they are counted only if there are any.
    counts |= {name: outcomes.count(name) for name in ("rejected", "placed", "canceled") if name in outcomes}
    total = sum((Decimal(order["amount"]) for order in orders), Decimal(0))
    return {"orders": len(orders), **counts, "total_amount": str(discounts.cents(total))}


def _as_csv(entries: list[BatchEntry]) -> str:
    """Return the rows that were not paid as CSV, to correct and send again."""
    text = io.StringIO()
    columns = ["row", "reference", "sku", "quantity", "outcome", "reason"]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(entries)
    return text.getvalue()
