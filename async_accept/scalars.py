"""Figures that ride along on another statement: subqueries of one value, which a database asks once for all rows.

So a page of the admin costs six statements at most, although permissions take two of them.
"""

from typing import Any

from django.db.models import DateTimeField, IntegerField, QuerySet, Subquery

__all__ = ["CountOf", "NewestOf"]


class CountOf(Subquery):
    """How many *rows* there are, counted no further than *most*."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()

    def __init__(self, rows: QuerySet[Any], most: int, **extra: Any) -> None:
        super().__init__(rows.order_by().values("pk")[:most], **extra)


class NewestOf(Subquery):
    """The latest time in a column of *rows*, which may be a slice; NULL where there is none."""

    template = "(SELECT MAX(%(column)s) FROM (%(subquery)s) newest)"
    output_field = DateTimeField()

    def __init__(self, rows: QuerySet[Any], column: str, **extra: Any) -> None:
        super().__init__(rows.values(column), column=column, **extra)
