"""Progress of the job that runs here: set in memory, written by the heartbeat.

``report()`` and ``track()`` find their job by a context variable and do nothing outside a job, so a function
that uses them can be called from anywhere. They never touch the database.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from datetime import UTC, datetime
from typing import TypeVar, overload

from .encoding import text
from .jobs.attempt import running, words
from .models import Job

__all__ = ["advance", "checkpoint", "current_job", "log", "report", "track"]

T = TypeVar("T")

#: A line of ``log()`` is cut to this length.
LINE_CHARS = 1_000


def current_job() -> Job | None:
    """Return the job that runs here, with ``id`` and ``attempt``; None outside a job.

    Its id is the stable key for effects outside the database: every attempt of the job has the same one.
    """
    run = running.get()
    return run.job if run else None


def report(
    current: float | None = None,
    total: float | None = None,
    message: str | None = None,
    *,
    unit: str | None = None,
) -> None:
    """Say how far the work is; None leaves a value as it was.

    A message alone moves nothing: what a loop that was canceled has reached stays on show beside the last words.
    """
    run = running.get()
    if run is None:
        return
    if message is not None:
        run.message = words(message)
    if current is not None or total is not None or unit is not None:
        stage = run.stage()
        if current is not None:
            stage.current = current
            stage.filled = 0.0
        if total is not None:
            stage.total = total
        if unit is not None:
            stage.unit = words(unit)
    if run.watch is not None:
        run.watch(run)


def advance(amount: float = 1, message: str | None = None) -> None:
    """Say that *amount* more is done."""
    run = running.get()
    if run is None:
        return
    stage = run.stage()
    stage.current += amount
    stage.filled = 0.0
    if message is not None:
        run.message = words(message)
    if run.watch is not None:
        run.watch(run)


def log(line: str) -> None:
    """Add a line to the job's log, which staff see in the admin; the last 200 lines are kept."""
    run = running.get()
    if run is not None:
        run.lines.append(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text(words(line), LINE_CHARS)}")


def checkpoint() -> None:
    """Stop here if the job is to stop. Costs no query, so call it as often as you like.

    Raises:
        JobCanceled: somebody canceled the job.
        AttemptLost: this attempt was given up for lost.
    """
    run = running.get()
    if run is not None:
        run.checkpoint()


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
        total: how many items there are; by default ``len(iterable)`` where it has one.
        weight: the share (0 to 1) of the surrounding span that this stage fills. The surrounding span is
            the whole job, or one item of an outer ``track()``.

    Raises:
        JobCanceled: somebody canceled the job.
        AttemptLost: this attempt was given up for lost.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if isinstance(iterable, AsyncIterable):
        return _track_async(iterable, label, total, weight, unit)
    return _track(iterable, label, total, weight, unit)


def _track(iterable: Iterable[T], label: str, total: float | None, weight: float, unit: str) -> Iterator[T]:
    run = running.get()
    if run is None:
        yield from iterable
        return
    stage = run.enter(label, total, unit, weight)
    try:
        for item in iterable:
            run.checkpoint()
            yield item
            run.step(stage)
    except BaseException:  # GeneratorExit: the caller left its loop
        stage.left = True
        raise
    run.leave(stage)


async def _track_async(
    iterable: AsyncIterable[T], label: str, total: float | None, weight: float, unit: str
) -> AsyncIterator[T]:
    run = running.get()
    if run is None:
        async for item in iterable:
            yield item
        return
    stage = run.enter(label, total, unit, weight)
    try:
        async for item in iterable:
            run.checkpoint()
            yield item
            run.step(stage)
    except BaseException:
        stage.left = True
        raise
    run.leave(stage)
