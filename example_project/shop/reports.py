"""The sales report: the sales of each day, and an estimate of them.

The estimate draws `rows` orders at random from those of the last `days` days (a bootstrap,
https://en.wikipedia.org/wiki/Bootstrapping_(statistics)). This takes long: the time grows with the rows. The
draws keep to a fixed speed, so a report takes the same time on every machine.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from django.conf import settings
from django.utils import timezone

from .discounts import cents
from .models import Order
from .results import Report, ReportDay

__all__ = ["Day", "SalesReport"]

# Look at the clock once for this many rows.
_BLOCK = 500


@dataclass
class Day:
    """One day of the report."""

    date: date
    orders: int = 0
    paid: int = 0
    revenue: Decimal = Decimal(0)
    drawn: int = 0
    drawn_cents: int = field(default=0)


class SalesReport:
    """The report about the last *days* days, today included, with *rows* draws."""

    def __init__(self, rows: int, days: int) -> None:
        self.rows = rows
        today = timezone.localdate()
        self.days = {day: Day(day) for day in (today - timedelta(n) for n in range(days - 1, -1, -1))}
        self.orders = list(self._read(today - timedelta(days - 1)))
        # A fixed seed: the same input gives the same report, also on a second attempt.
        self._random = random.Random(f"{rows}/{days}")

    def draws(self) -> Iterator[tuple[Day, int]]:
        """Yield *rows* draws, each with its day and its cents, at the speed of REPORT_ROWS_PER_SECOND."""
        began, pace = time.monotonic(), settings.REPORT_ROWS_PER_SECOND
        pool = self.orders or [(day, 0) for day in self.days.values()]
        for number in range(1, self.rows + 1):
            yield self._random.choice(pool)
            if number % _BLOCK == 0:
                time.sleep(max(began + number / pace - time.monotonic(), 0))

    def count(self, day: Day, amount_cents: int) -> None:
        """Add one draw to its day."""
        day.drawn += 1
        day.drawn_cents += amount_cents

    def result(self) -> Report:
        """Return the report as data for JSON."""
        days = list(self.days.values())
        return {
            "rows": self.rows,
            "from": days[0].date.isoformat(),
            "to": days[-1].date.isoformat(),
            "totals": {
                "orders": sum(day.orders for day in days),
                "paid": sum(day.paid for day in days),
                "revenue": str(cents(sum((day.revenue for day in days), Decimal(0)))),
            },
            "days": [self._entry(day) for day in days],
        }

    def _entry(self, day: Day) -> ReportDay:
        # The estimate is for the number of real orders, not for the number of draws.
        scale = Decimal(len(self.orders)) / self.rows
        return {
            "date": day.date.isoformat(),
            "orders": day.orders,
            "paid": day.paid,
            "revenue": str(cents(day.revenue)),
            "estimate": str(cents(Decimal(day.drawn_cents) / 100 * scale)),
            "rows": day.drawn,
        }

    def _read(self, first: date) -> Iterator[tuple[Day, int]]:
        """Add all orders since *first* to their days. Yield for each order its day and the cents that were paid."""
        since = timezone.now() - timedelta(days=(timezone.localdate() - first).days + 1)
        found = Order.objects.filter(created_at__gte=since).order_by("pk")
        for created_at, status, total in found.values_list("created_at", "status", "total").iterator():
            day = self.days.get(timezone.localtime(created_at).date())
            if day is None:
                continue
            paid = status == Order.Status.PAID
            day.orders += 1
            day.paid += paid
            day.revenue += total if paid else 0
            yield day, int(total * 100) if paid else 0
