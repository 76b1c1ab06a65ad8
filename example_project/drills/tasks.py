"""The task of a drill: it begins, takes its time, misbehaves, has its effect, and ends."""

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
    """Its message is nobody's business."""


class UnpicklableError(Exception):
    """An exception that no other process can be sent: a lock cannot be pickled."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


@shared_task(base=JobTask, bind=True, retry_when_lost=True, max_attempts=5)
def drill(self: JobTask, key: str, ms: int, mode: str) -> Any:
    """Note the begin, work, misbehave as asked; who gets through has one effect and notes the end."""
    job = current_job()
    attempt = job.attempt if job else 0
    note(key, "begin", attempt)
    _work(ms / 1000)
    _misbehave(self, mode)
    atomic_from_here()  # not before: SQLite has one lock for all who write
    Effect.objects.create(key=key)
    note(key, "end", attempt)
    return _outcome(mode, {"key": key, "ms": ms, "mode": mode})


def _work(seconds: float) -> None:
    """Sleep, and look up every 50 ms whether to stop."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        checkpoint()
        time.sleep(min(left, _STEP_SECONDS))
    checkpoint()


def _misbehave(task: JobTask, mode: str) -> None:
    """Those that do not get as far as the effect."""
    if mode == Mode.RAISE:
        raise DrillError("connection to postgres://shop:hunter2-secret@10.0.0.7/shop refused")
    if mode == Mode.EXIT:
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == Mode.UNPICKLABLE:
        raise UnpicklableError("this exception holds a lock, and hunter2-secret")
    if mode == Mode.RETRY and task.request.retries < _RETRIES:
        raise task.retry(countdown=0.2, max_retries=_RETRIES)


def _outcome(mode: str, plain: dict[str, Any]) -> Any:
    """Those that fail on what they return: their effect must not be committed either."""
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
