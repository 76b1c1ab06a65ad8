"""The shop's tasks. The work itself is in plain modules; a task adds progress, and stops if its job is canceled."""

from typing import Any

from celery import shared_task
from django.contrib.auth import get_user_model

from async_accept.exceptions import JobCanceled
from async_accept.progress import report, track
from async_accept.tasks import JobTask

from .fulfilment import Batch
from .reports import SalesReport
from .results import BatchResult, Report
from .time_left import TimeLeft
from .trouble import make_trouble

__all__ = ["build_report", "fulfil_orders", "make_trouble"]

# Estimate the time left once for this many rows.
_ESTIMATE_ROWS = 5_000


@shared_task(base=JobTask, bind=True, retry_when_lost=True)
def fulfil_orders(self: JobTask, customer: int, orders: list[dict[str, Any]]) -> BatchResult:
    """Fulfil a batch of orders. A second attempt continues where the first one stopped.

    If it is canceled, it keeps the orders that are paid, and gives back the stock of the others.
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
def build_report(self: JobTask, rows: int, days: int) -> Report:
    """Build the sales report. It only reads, so it is safe to run it again."""
    sales = SalesReport(rows, days)
    time_left = TimeLeft(rows)
    try:
        for number, draw in enumerate(track(sales.draws(), "Drawing orders", total=rows, unit="rows")):
            sales.count(*draw)
            if number % _ESTIMATE_ROWS == 0:
                report(message=time_left.words(number))
    finally:
        # Also if it is canceled or fails: then no time is left.
        report(message="")
    return sales.result()
