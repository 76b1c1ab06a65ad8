"""What all drills do, as tasks and as views."""

import os
import signal
import threading
import time
from typing import Any

from django.conf import settings

from async_accept.exceptions import JobFailed
from async_accept.progress import checkpoint, current_job
from async_accept.tasks import JobTask

from .effects import note
from .serializers import Mode

__all__ = ["DrillError", "UnpicklableError", "begin", "misbehave", "result", "wait"]

_STEP_SECONDS = 0.05
_BIG_BYTES = 4_000_000
_RETRIES = 2
#: A secret in a message. It is not in the line that raises, because the worker's log shows that line.
_SECRET = "hunter2-secret"


class DrillError(Exception):
    """Its message contains a password, which no client may see."""


class UnpicklableError(Exception):
    """Cannot be pickled, and so not sent to another process, because it has a lock."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


def begin(key: str, asked_by: int = 1) -> int:
    """Note the begin, and return the number of the attempt.

    Raises:
        TypeError: the input is of a newer version, so the installation was updated in the wrong order.
    """
    if asked_by > settings.DRILLS_VERSION:
        raise TypeError(f"Version {settings.DRILLS_VERSION} does not know the input of version {asked_by}.")
    job = current_job()
    attempt = job.attempt if job else 0
    note(key, "begin", attempt)
    return attempt


def wait(seconds: float) -> None:
    """Sleep, and check every 50 ms whether the job is to be canceled."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        checkpoint()
        time.sleep(min(left, _STEP_SECONDS))
    checkpoint()


def misbehave(mode: str, task: JobTask | None = None) -> None:
    """Do what the modes do that end before a result.

    Args:
        task: what can ask for a retry; None in a view.
    """
    if mode == Mode.RAISE:
        raise DrillError("connection to postgres://shop:hunter2-secret@10.0.0.7/shop refused")
    if mode == Mode.REFUSE:
        raise JobFailed("The drill is refused.", code="drill-refused", status=422)
    if mode == Mode.EXIT:
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == Mode.UNPICKLABLE:
        raise UnpicklableError(f"this exception holds a lock, and {_SECRET}")
    if mode == Mode.RETRY and task is not None and task.request.retries < _RETRIES:
        raise task.retry(countdown=0.2, max_retries=_RETRIES)


def result(mode: str, plain: dict[str, Any]) -> Any:
    """Return *plain*, or a result that cannot be stored. Then the job fails, and an atomic effect is rolled back.

    Version 2 adds its number, see `DRILLS_VERSION`.
    """
    if settings.DRILLS_VERSION >= 2:
        plain = {**plain, "version": settings.DRILLS_VERSION}
    match mode:
        case Mode.UNSERIALIZABLE:
            return object()
        case Mode.NAN:
            return {**plain, "value": float("nan")}
        case Mode.NUL:
            return {**plain, "value": "a\x00b"}
        case Mode.BIG:
            return {**plain, "value": "x" * _BIG_BYTES}
    return plain
