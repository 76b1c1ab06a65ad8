"""Expressions: the database's clock, and subqueries of one value.

Leases are compared with the database's clock, because the clocks of web and worker machines differ; ``db.clock`` has
the same clock for Python. A count or a time in a subquery needs no statement of its own, so a page of the admin takes
six statements at most.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, ExpressionWrapper, IntegerField, QuerySet, Subquery
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone

__all__ = ["CountOf", "DatabaseNow", "NewestOf", "from_now", "offset_seconds"]


class DatabaseNow(Now):
    """The database's current time, as its columns have it: in UTC, or in the time zone of their connection.

    On MySQL and MariaDB, Django's ``Now`` is the local time of the session, on SQLite it is always UTC. PostgreSQL
    knows the time zone of its columns.
    """

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = f"(UTC_TIMESTAMP(6) + INTERVAL {offset_seconds(connection)} SECOND)"
        return self.as_sql(compiler, connection, template=template, **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        offset = f"{offset_seconds(connection):+} seconds"
        template = f"STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW', '{offset}')"
        return self.as_sql(compiler, connection, template=template, **extra)


def offset_seconds(connection: Any) -> int:
    """Return by how much the times in the columns are ahead of UTC at present.

    With ``USE_TZ`` they are in UTC, or in the ``TIME_ZONE`` of ``DATABASES``; the connection knows which. It changes
    with summer time, and is a part of the text of ``DatabaseNow``, except on PostgreSQL.
    """
    offset = datetime.now(connection.timezone or timezone.get_default_timezone()).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def from_now(delay: timedelta) -> Combinable:
    """Return an expression for the database's time plus *delay*."""
    if not delay:
        return DatabaseNow()
    return ExpressionWrapper(DatabaseNow() + delay, output_field=DateTimeField())


class CountOf(Subquery):
    """The number of *rows*, counted up to *most*."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()

    def __init__(self, rows: QuerySet[Any], most: int, **extra: Any) -> None:
        super().__init__(rows.order_by().values("pk")[:most], **extra)


class NewestOf(Subquery):
    """The latest time in a column of *rows*, which may be a slice; NULL if there is none."""

    template = "(SELECT MAX(%(column)s) FROM (%(subquery)s) newest)"
    output_field = DateTimeField()

    def __init__(self, rows: QuerySet[Any], column: str, **extra: Any) -> None:
        super().__init__(rows.values(column), column=column, **extra)
