"""When the next attempt is: later each time (``WEBHOOK_RETRY_DELAYS``), and never before the receiver wants it.

The time stands in our row. A countdown of Celery would not do: Redis delivers a message again after its visibility
timeout, so that a notice would be sent twice.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from ..conf import conf

__all__ = ["delay", "max_attempts", "retry_after"]

#: By how much a delay is spread, so that what failed together is not tried again together.
JITTER = 0.2
#: The longest that a receiver may put us off.
LONGEST = timedelta(days=1)


def max_attempts() -> int:
    """Return how many attempts a delivery has in all."""
    return len(conf.WEBHOOK_RETRY_DELAYS) + 1


def delay(
    attempt: int, wanted: timedelta | None = None, chance: Callable[[], float] = random.random
) -> timedelta:
    """Return how long to wait after attempt number *attempt* failed, which was not the last one.

    Args:
        wanted: what the receiver wants at least (``retry_after()``).
        chance: gives a number from 0 to 1; replaced in tests.
    """
    planned: timedelta = conf.WEBHOOK_RETRY_DELAYS[attempt - 1] * (1 + JITTER * chance())
    return max(planned, min(wanted or timedelta(), LONGEST))


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """Return what a ``Retry-After`` header says: seconds or a date (RFC 9110, section 10.2.3); None if nothing.

    Args:
        now: the present time of the database: the clock of this machine may be wrong.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        return timedelta(seconds=min(int(text.lstrip("0")[:12] or 0), int(LONGEST.total_seconds())))
    with suppress(ValueError, TypeError, OverflowError, IndexError):
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(moment - now, timedelta())
    return None
