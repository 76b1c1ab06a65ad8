"""Expressions: the database's clock, and subqueries of one value.

Leases are judged by the database's clock: web and worker machines disagree about the time, and the database that holds
the leases does not disagree with itself. A count or a time that comes as a subquery costs no statement of its own: so a
page of the admin needs six at most.
"""

from datetime import timedelta
from typing import Any

from django.db.models import DateTimeField, ExpressionWrapper, IntegerField, QuerySet, Subquery
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

__all__ = ["CountOf", "DatabaseNow", "NewestOf", "from_now"]


class DatabaseNow(Now):
    """The database's present time in UTC.

    Django's own ``Now`` is the session's local time on MySQL and MariaDB, where Django keeps UTC in
    columns without a time zone.
    """

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)


def from_now(delay: timedelta) -> Combinable:
    """Return an expression for the database's time plus *delay*."""
    if not delay:
        return DatabaseNow()
    return ExpressionWrapper(DatabaseNow() + delay, output_field=DateTimeField())


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
