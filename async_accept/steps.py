"""The steps of a job's way, and what may surround them, such as a tracer.

Nobody surrounds them by default: then a step costs one comparison. ``async_accept.contrib.opentelemetry`` does.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol, TypeVar

__all__ = ["Around", "Step", "is_surrounded", "surround", "take"]

T = TypeVar("T")


class Step(StrEnum):
    """What is done, and to what: the second argument of ``take()``."""

    #: A ``Job`` that is to be stored; returns the job that stands for the request.
    ACCEPT = "accept"
    #: A ``Waiting`` whose message is sent.
    PUBLISH = "publish"
    #: A ``Job``; True if this attempt has it.
    CLAIM = "claim"
    #: A ``Job`` whose work is done.
    WORK = "work"
    #: A ``Job`` whose attempt, or which itself, ends; True if it does.
    FINISH = "finish"
    #: A delivery of a webhook, and its headers, to which some may be added; returns the answer.
    DELIVER = "deliver"


class Around(Protocol):
    """Calls *do* once, and returns what it returns or raises what it raises."""

    def __call__(self, step: Step, subject: Any, do: Callable[[], T]) -> T: ...


_around: Around | None = None


def surround(around: Around | None) -> None:
    """Let *around* surround every step in this process from now on; None: nothing does."""
    global _around
    _around = around


def is_surrounded() -> bool:
    """Whether something surrounds the steps of this process."""
    return _around is not None


def take(step: Step, subject: Any, do: Callable[[], T]) -> T:
    """Call *do*, and let the step be surrounded."""
    return do() if _around is None else _around(step, subject, do)
