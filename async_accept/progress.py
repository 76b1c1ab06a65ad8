"""Progress of the job that runs here: set in memory, written by the heartbeat.

All functions find their job by a context variable, and do nothing outside a job. So a function that uses them can be
called from anywhere. They never touch the database.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from typing import Any, Protocol, TypeVar, cast, overload

from billiard.exceptions import SoftTimeLimitExceeded

from .jobs.attempt import Attempt, current_attempt
from .jobs.stages import Stage
from .models import Job

__all__ = ["advance", "checkpoint", "current_job", "log", "report", "track"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Either(Iterable[T_co], AsyncIterable[T_co], Protocol[T_co]):
    """What ``for`` and ``async for`` can go through."""


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
    Nothing of it fails the job.

    Args:
        current, total: numbers of *unit*; what is no finite number is shown as unknown.
        message: for people; cut to 500 characters.
        unit: such as ``rows``; cut to 50 characters.
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
    """Add a line to the job's log, with its time in UTC; staff see it in the admin.

    A line is cut to 1,000 characters, and the last 200 are kept.
    """
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
def track(  # type: ignore[overload-overlap] # it is no iterator, but more than an iterable of either kind
    iterable: _Either[T],
    label: str = ...,
    total: float | None = ...,
    weight: float = ...,
    *,
    unit: str = ...,
) -> "_EitherLoop[T]": ...
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
) -> "Iterator[T] | AsyncIterator[T] | _EitherLoop[T]":
    """Yield the items of *iterable* and show how many are done; a checkpoint before each.

    ``async for`` goes through an asynchronous iterable. What can be gone through in both ways, such as a query set of
    Django's, still can.

    Args:
        label: the name of this stage, shown to people.
        total: how many items there are; by default ``len(iterable)``, if it has one. A query set has none where it must
            not be fetched, as in a coroutine: there give ``total=await rows.acount()``.
        weight: the share (0 to 1) of the surrounding span that this stage fills. The surrounding span is
            the whole job, or one item of an outer ``track()``.
        unit: what an item is, such as ``rows``, shown to people.

    Raises:
        JobCanceled: somebody canceled the job.
        AttemptLost: this attempt was given up for lost.
    """
    if total is None:
        total = _length(iterable)
    stage = (label, total, weight, unit)
    if not isinstance(iterable, AsyncIterable):
        return _track(iterable, *stage)
    if isinstance(iterable, Iterable):
        return _EitherLoop(cast(_Either[T], iterable), *stage)
    return _AsyncLoop(iterable, *stage)


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
            if attempt.canceling or attempt.taken:
                attempt.checkpoint()
            yield item
            progress.step(stage)
    except BaseException:  # GeneratorExit: the caller left its loop
        stage.left = True
        raise
    progress.leave(stage)


class _AsyncLoop(AsyncIterator[T]):
    """What ``async for`` goes through.

    No generator: asyncio closes one that was left early at some later time, and until then a following stage would
    count as a part of this one.
    """

    def __init__(self, iterable: AsyncIterable[T], *stage: Any) -> None:
        self.iterable = iterable
        self.given = stage
        self.items: AsyncIterator[T] | None = None
        self.attempt: Attempt | None = None
        self.stage: Stage | None = None

    async def __anext__(self) -> T:
        if self.items is None:
            self._begin()
        elif self.attempt is not None and self.stage is not None:
            self.attempt.progress.step(self.stage)
        assert self.items is not None
        try:
            item = await anext(self.items)
            if self.attempt is not None:
                self.attempt.checkpoint()
        except BaseException as error:
            self._end(all_done=isinstance(error, StopAsyncIteration))
            raise
        return item

    def __del__(self) -> None:
        self._end(all_done=False)

    def _begin(self) -> None:
        self.attempt = current_attempt()
        if self.attempt is not None:
            label, total, weight, unit = self.given
            self.stage = self.attempt.progress.enter(label, total, unit, weight)
        self.items = aiter(self.iterable)

    def _end(self, *, all_done: bool) -> None:
        attempt, stage = self.attempt, self.stage
        self.stage = None
        if attempt is None or stage is None:
            return
        if all_done:
            attempt.progress.leave(stage)
        else:
            stage.left = True


class _EitherLoop(Iterable[T], AsyncIterable[T]):
    """What ``for`` and ``async for`` can go through, as through a query set."""

    def __init__(self, iterable: _Either[T], *stage: Any) -> None:
        self.iterable = iterable
        self.given = stage

    def __iter__(self) -> Iterator[T]:
        return _track(self.iterable, *self.given)

    def __aiter__(self) -> AsyncIterator[T]:
        return _AsyncLoop(self.iterable, *self.given)
