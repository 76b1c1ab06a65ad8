"""The shop's long work. Everything that matters is in plain modules; a task adds stages and stopping."""

from typing import Any

from celery import shared_task
from django.contrib.auth import get_user_model

from async_accept.exceptions import JobCanceled
from async_accept.progress import report, track
from async_accept.tasks import JobTask

from .fulfilment import Batch
from .remaining import Remaining
from .reports import SalesReport
from .trouble import stumble

__all__ = ["build_report", "fulfil_orders", "stumble"]

# Rows between two estimates of the time that is left.
_ESTIMATE_ROWS = 5_000


@shared_task(base=JobTask, bind=True, retry_when_lost=True)
def fulfil_orders(self: JobTask, customer: int, orders: list[dict[str, Any]]) -> dict[str, Any]:
    """Work off a batch of orders; a second attempt resumes where the first one stopped.

    Canceled midway it keeps what is paid, gives back the stock of the rest, and says so.
    """
    batch = Batch(get_user_model().objects.get(pk=customer), orders)
    try:
        for row in track(batch.rows, "Validating inventory", weight=0.2, unit="orders"):
            batch.reserve(row)
        for order in track(batch.unpaid(), "Applying discounts", weight=0.2, unit="orders"):
            batch.discount(order)
        for order in track(batch.unpaid(), "Taking payments", weight=0.6, unit="orders"):
            batch.pay(order)
    except JobCanceled:
        report(message="Giving back the stock …")
        paid, released = batch.release()
        report(message=f"Canceled: {paid} paid orders are kept, the stock of {released} others is released.")
        raise
    return batch.result()


@shared_task(base=JobTask, bind=True, retry_when_lost=True)
def build_report(self: JobTask, rows: int, days: int) -> dict[str, Any]:
    """Build the sales report; it only reads, so a lost attempt is simply made again."""
    sales = SalesReport(rows, days)
    remaining = Remaining(rows)
    try:
        for number, draw in enumerate(track(sales.draws(), "Drawing orders", total=rows, unit="rows")):
            sales.count(*draw)
            if number % _ESTIMATE_ROWS == 0:
                report(message=remaining.words(number))
    finally:
        # However it ends, also canceled: there is nothing left to wait for.
        report(message="")
    return sales.result()
