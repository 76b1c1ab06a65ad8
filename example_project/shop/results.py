"""What the shop's tasks return. The schema at /api/schema/ tells it, because the tasks have these types."""

from typing import NotRequired, TypedDict

__all__ = [
    "BatchEntry",
    "BatchResult",
    "BatchSummary",
    "Report",
    "ReportDay",
    "ReportTotals",
    "TroubleResult",
]


class BatchEntry(TypedDict):
    """What became of one row of a batch. The amount is a decimal number."""

    row: int
    reference: str
    sku: str
    quantity: int
    outcome: str
    amount: str
    reason: str


class BatchSummary(TypedDict):
    """How many orders had each outcome."""

    orders: int
    paid: int
    declined: int
    out_of_stock: int
    rejected: NotRequired[int]
    placed: NotRequired[int]
    canceled: NotRequired[int]
    total_amount: str


class BatchResult(TypedDict):
    """What became of a batch: all rows, those that were not paid, and the latter as CSV."""

    summary: BatchSummary
    orders: list[BatchEntry]
    errors: list[BatchEntry]
    errors_csv: str


class ReportTotals(TypedDict):
    """The orders of all days. The revenue is a decimal number."""

    orders: int
    paid: int
    revenue: str


class ReportDay(TypedDict):
    """The orders of one day, and how many rows were drawn from them. Amounts are decimal numbers."""

    date: str
    orders: int
    paid: int
    revenue: str
    estimate: str
    rows: int


#: The sales report. (Its member `from` is a word of Python, so it is no class.)
Report = TypedDict(
    "Report", {"rows": int, "from": str, "to": str, "totals": ReportTotals, "days": list[ReportDay]}
)


class TroubleResult(TypedDict):
    """What went wrong, and how many attempts it took."""

    kind: str
    attempts: int
