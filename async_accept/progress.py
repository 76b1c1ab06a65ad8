"""Progress of the job that runs here: set in memory, written by the heartbeat.

All functions find their job by a context variable, and do nothing outside a job. So a function that uses them can be
called from anywhere. They never touch the database.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from typing import TypeVar, overload

from billiard.exceptions import SoftTimeLimitExceeded

from .jobs.attempt import current_attempt
from .models import Job

__all__ = ["advance", "checkpoint", "current_job", "log", "report", "track"]

T = TypeVar("T")


def current_job() -> Job | None:
    """Return the job that runs here, with ``id`` and ``attempt``; None outside a job.

    Use its id as the stable key for effects outside the database: every attempt of the job has the same one.
    """
    attempt = current_attempt()
    return attempt.job if attempt else None


def report(
    current: float | None = None,
    total: float | None = None,
    message: str | None = None,
    *,
    unit: str | None = None,
) -> None:
    """Say how far the work is; None leaves a value as it was.

    A message alone moves nothing: a loop that was canceled still shows how far it came, beside the last message.
    """
    attempt = current_attempt()
    if attempt is not None:
        attempt.progress.report(current, total, message, unit)


def advance(amount: float = 1, message: str | None = None) -> None:
    """Say that *amount* more is done."""
    attempt = current_attempt()
    if attempt is not None:
        attempt.progress.advance(amount, message)


def log(line: str) -> None:
    """Add a line to the job's log, which staff see in the admin; the last 200 lines are kept."""
    attempt = current_attempt()
    if attempt is not None:
        attempt.progress.log(line)


def checkpoint() -> None:
    """Stop here if the job is to stop. Costs no query, so call it as often as you like.

    Raises:
        JobCanceled: somebody canceled the job.
        AttemptLost: this attempt was given up for lost.
    """
    attempt = current_attempt()
    if attempt is not None:
        attempt.checkpoint()


@overload
def track(
    iterable: AsyncIterable[T],
    label: str = ...,
    total: float | None = ...,
    weight: float = ...,
    *,
    unit: str = ...,
) -> AsyncIterator[T]: ...
@overload
def track(
    iterable: Iterable[T],
    label: str = ...,
    total: float | None = ...,
    weight: float = ...,
    *,
    unit: str = ...,
) -> Iterator[T]: ...
def track(
    iterable: Iterable[T] | AsyncIterable[T],
    label: str = "",
    total: float | None = None,
    weight: float = 1.0,
    *,
    unit: str = "",
) -> Iterator[T] | AsyncIterator[T]:
    """Yield the items of *iterable* and show how many are done; a checkpoint before each.

    Args:
        label: the name of this stage, shown to people.
        total: how many items there are; by default ``len(iterable)``, if it has one.
        weight: the share (0 to 1) of the surrounding span that this stage fills. The surrounding span is
            the whole job, or one item of an outer ``track()``.

    Raises:
        JobCanceled: somebody canceled the job.
        AttemptLost: this attempt was given up for lost.
    """
    if total is None:
        total = _length(iterable)
    if isinstance(iterable, AsyncIterable):
        return _track_async(iterable, label, total, weight, unit)
    return _track(iterable, label, total, weight, unit)


def _length(iterable: object) -> int | None:
    """Return how many items there are; None if *iterable* does not say, or cannot."""
    try:
        return len(iterable) if isinstance(iterable, Sized) else None
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # whatever its own code does
        return None


def _track(iterable: Iterable[T], label: str, total: float | None, weight: float, unit: str) -> Iterator[T]:
    attempt = current_attempt()
    if attempt is None:
        yield from iterable
        return
    progress = attempt.progress
    stage = progress.enter(label, total, unit, weight)
    try:
        for item in iterable:
            attempt.checkpoint()
            yield item
            progress.step(stage)
    except BaseException:  # GeneratorExit: the caller left its loop
        stage.left = True
        raise
    progress.leave(stage)


async def _track_async(
    iterable: AsyncIterable[T], label: str, total: float | None, weight: float, unit: str
) -> AsyncIterator[T]:
    attempt = current_attempt()
    if attempt is None:
        async for item in iterable:
            yield item
        return
    progress = attempt.progress
    stage = progress.enter(label, total, unit, weight)
    try:
        async for item in iterable:
            attempt.checkpoint()
            yield item
            progress.step(stage)
    except BaseException:
        stage.left = True
        raise
    progress.leave(stage)
