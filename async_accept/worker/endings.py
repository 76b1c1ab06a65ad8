"""The ways out of the work: what it raises, and how long a retry waits."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any

from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry, SoftTimeLimitExceeded
from django.db import Error
from django.utils import timezone

from ..conf import LONGEST
from ..exceptions import NotInJob, WorkFailed
from ..jobs.attempt import Attempt
from ..models import Job
from .errors import Failure, explain_transaction, failure
from .shutdown import is_shutdown

__all__ = ["delay_until", "ending", "limit_of", "no_attempt_left"]

#: How far the causes of an error are followed.
MOST_CONTEXTS = 50


@contextmanager
def ending(attempt: Attempt) -> Iterator[None]:
    """Turn whatever ends the work inside into an end of *attempt*, but not what ends this process.

    Raises:
        Retry: there may be another attempt; ``when`` is a number of seconds.
        Failure: what Celery may know of anything else.
    """
    error: BaseException
    try:
        yield
        return
    except Failure:
        raise
    except Retry as retry:
        error = _checked(retry, attempt.job)
    except (Ignore, Reject) as raised:
        # "Forget this message" is no end for a job.
        error = NotInJob(f"A job cannot end by {type(raised).__name__}: return, or raise JobFailed.")
        error.__cause__ = raised
    except BaseException as raised:
        if is_shutdown(raised):
            raise
        explain_transaction(raised, attempt.hides_transaction)
        error = _limit_behind(raised) or raised
    if isinstance(error, Retry):
        raise error
    raise failure(error, attempt.job) from error


def _limit_behind(error: BaseException) -> BaseException | None:
    """Return the soft time limit that came in the middle of a statement, if *error* is what the driver made of it."""
    behind: BaseException | None = error if isinstance(error, Error) else None
    for _ in range(MOST_CONTEXTS):
        if behind is None or isinstance(behind, SoftTimeLimitExceeded):
            return behind
        behind = behind.__context__
    return None


def _checked(retry: Retry, job: Job) -> BaseException:
    """Return the retry that Celery may know of, or the error that fails the job in its place."""
    cause = retry.exc if isinstance(retry.exc, BaseException) else None
    if job.attempt >= job.max_attempts:
        return no_attempt_left(job) if cause is None else cause
    try:
        seconds: Any = delay_until(retry.when).total_seconds()
    except Exception as error:
        return error
    return Retry(exc=None if cause is None else WorkFailed(type(cause).__name__), when=seconds)


def no_attempt_left(job: Job) -> MaxRetriesExceededError:
    """Return what fails a job that asks for a retry in vain."""
    return MaxRetriesExceededError(f"Job {job.pk} has no attempt left.")


# --- The arguments of retry() -----------------------------------------------------------------------------------------


def delay_until(when: Any) -> timedelta:
    """Return how long a retry waits; never less than zero.

    Args:
        when: seconds as a number, a ``timedelta``, or a ``datetime``; None for no delay. A naive ``datetime`` is in
            UTC: so Celery's worker reads an ETA.

    Raises:
        TypeError: *when* is none of these.
        ValueError: it is no finite number, or more than a thousand years away.
    """
    if when is None:
        return timedelta()
    try:
        delay = _delay(when)
    except (OverflowError, ValueError) as error:  # infinity, too many digits; NaN
        raise ValueError(f"A retry cannot wait for {when!r}.") from error
    if delay > LONGEST:
        raise ValueError(f"A retry cannot wait for {when!r}: that is more than a thousand years.")
    return max(delay, timedelta())


def _delay(when: Any) -> timedelta:
    if isinstance(when, timedelta):
        return when
    if isinstance(when, datetime):
        aware = when if timezone.is_aware(when) else when.replace(tzinfo=UTC)
        return aware - datetime.now(UTC)  # by the clock that made it
    if isinstance(when, Real | Decimal):
        seconds = float(when)
        return timedelta(seconds=0.0 if seconds < 0 else seconds)  # as far in the past as you like
    raise TypeError(f"A retry waits for a number of seconds, a timedelta or a datetime, not {when!r}.")


def limit_of(max_retries: Any, most: int) -> int:
    """Return how many retries there may be, at most *most*. Celery takes any number here, so infinity as well.

    Raises:
        TypeError, ValueError: *max_retries* is no number.
    """
    if not isinstance(max_retries, Real | Decimal):
        raise TypeError(f"max_retries is {max_retries!r}; it is a whole number.")
    if max_retries != max_retries:
        raise ValueError("max_retries is not a number (NaN).")
    limit: Any = max(min(max_retries, most), -1)
    return int(limit)
