"""The task of a drill."""

import os
import signal
import threading
import time
from typing import Any

from celery import shared_task

from async_accept.progress import checkpoint, current_job
from async_accept.tasks import JobTask, atomic_from_here

from .effects import note
from .models import Effect
from .serializers import Mode

__all__ = ["DrillError", "UnpicklableError", "drill"]

_STEP_SECONDS = 0.05
_BIG_BYTES = 4_000_000
_RETRIES = 2


class DrillError(Exception):
    """Its message contains a password, which no client may see."""


class UnpicklableError(Exception):
    """Cannot be pickled, and so not sent to another process, because it has a lock."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


@shared_task(base=JobTask, bind=True, retry_when_lost=True, max_attempts=5)
def drill(self: JobTask, key: str, ms: int, mode: str) -> Any:
    """Note the begin, work, do what the mode says, write one `Effect`, and note the end."""
    job = current_job()
    attempt = job.attempt if job else 0
    note(key, "begin", attempt)
    _work(ms / 1000)
    _misbehave(self, mode)
    # Not earlier: on SQLite the transaction locks out everybody else who writes.
    atomic_from_here()
    Effect.objects.create(key=key)
    note(key, "end", attempt)
    return _result(mode, {"key": key, "ms": ms, "mode": mode})


def _work(seconds: float) -> None:
    """Sleep, and check every 50 ms whether the job is to be canceled."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        checkpoint()
        time.sleep(min(left, _STEP_SECONDS))
    checkpoint()


#: A secret in a message. It is not in the line that raises, because the worker's log shows that line.
_SECRET = "hunter2-secret"


def _misbehave(task: JobTask, mode: str) -> None:
    """Do what the modes do that end before the effect."""
    if mode == Mode.RAISE:
        raise DrillError("connection to postgres://shop:hunter2-secret@10.0.0.7/shop refused")
    if mode == Mode.EXIT:
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == Mode.UNPICKLABLE:
        raise UnpicklableError(f"this exception holds a lock, and {_SECRET}")
    if mode == Mode.RETRY and task.request.retries < _RETRIES:
        raise task.retry(countdown=0.2, max_retries=_RETRIES)


def _result(mode: str, plain: dict[str, Any]) -> Any:
    """Return *plain*, or a result that cannot be stored. Then the job fails, and its effect is rolled back."""
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
