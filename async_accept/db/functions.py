"""The one clock that judges leases: the database's.

Web and worker machines disagree about the time; the database that holds the leases does not disagree with itself.
"""

import time
from datetime import timedelta
from typing import Any

from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

__all__ = ["DatabaseNow", "from_now", "steady"]

#: Goes on while the machine sleeps: on Linux the one, on macOS the other.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


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


def steady() -> float:
    """Return the seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
