"""The database's clock, in Python: every time that is written into a row, or compared with one, is by this clock.

The clocks of web and worker machines differ, so that a result of a worker that is a day late would be gone at once.
``db.functions`` has the same clock for SQL. What is asked of the clock again and again needs no statement: once in
``ASK_SECONDS`` the database is asked for its time, and a steady clock of this machine counts from there.
"""

import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation
from django.db import Error, connections
from django.utils import timezone

__all__ = ["as_stored", "aware", "local", "now", "steady"]

#: How often the database is asked, in seconds. After a failover another machine's clock may count.
ASK_SECONDS = 60.0
#: A smaller difference between two clocks is none: so one machine has one time. SQLite counts in milliseconds.
SAME_SECONDS = 0.005
#: The database's time as seconds since 1970.
QUESTIONS = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP())",
    "mysql": "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1000000",
    "sqlite": "SELECT (JULIANDAY('NOW') - 2440587.5) * 86400.0",
}
#: A clock that goes on while the machine sleeps; on macOS it has the other name.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


class Reading(NamedTuple):
    """What the database said, and when."""

    seconds: float
    at: float


#: The last reading of each database.
_readings: dict[str, Reading] = {}


def steady() -> float:
    """Return the seconds of a clock that is never set, and that goes on while the machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def now(using: str) -> datetime:
    """Return the present time of the database *using*, in the form that its columns have (``USE_TZ``).

    It opens no connection. Until the database was asked for the first time, the time is this machine's.
    """
    reading = _readings.get(using)
    if reading is None or not 0 <= steady() - reading.at < ASK_SECONDS:
        reading = _ask(using) or reading
    seconds = time.time() if reading is None else reading.seconds + steady() - reading.at
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment if settings.USE_TZ else as_stored(moment)


def _ask(using: str) -> Reading | None:
    """Ask the database for its time; None if no connection is open, or it does not answer."""
    connection: Any = connections[using]
    question = QUESTIONS.get(connection.vendor)
    if connection.connection is None or question is None:
        return None
    began = steady()
    try:
        # The driver's own cursor: this is no statement of the project's, whatever watches those.
        with connection.wrap_database_errors:
            cursor = connection.connection.cursor()
            try:
                cursor.execute(question)
                [seconds] = cursor.fetchone()
            finally:
                cursor.close()
    except (Error, SynchronousOnlyOperation):
        return None
    ended = steady()
    mine, theirs = time.time(), float(seconds) + (ended - began) / 2
    if abs(mine - theirs) <= SAME_SECONDS + (ended - began):
        theirs = mine
    reading = _readings[using] = Reading(theirs, ended)
    return reading


# --- Forms of a time --------------------------------------------------------------------------------------------


def aware(moment: datetime) -> datetime:
    """Return *moment* with a time zone; a naive one is in the project's (``TIME_ZONE``)."""
    if timezone.is_aware(moment):
        return moment
    return timezone.make_aware(moment, timezone.get_default_timezone())


def as_stored(moment: datetime) -> datetime:
    """Return *moment* as the columns have it: with a time zone, or without ``USE_TZ`` in the project's, naive."""
    if settings.USE_TZ:
        return aware(moment)
    return timezone.make_naive(aware(moment), timezone.get_default_timezone())


def local(moment: datetime) -> datetime:
    """Return *moment* in the time zone of the reader."""
    return timezone.localtime(aware(moment))
