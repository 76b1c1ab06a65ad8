"""One failure is one record of level ERROR, also if the process of the job is gone.

Celery and its pool write two or three then: of the process, of the task, and of its time limit. For a job's message all
but one of them become warnings; the one that stays is found by its ``job_id``.
"""

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from billiard.exceptions import TimeLimitExceeded
from celery.worker import state

__all__ = ["reporting", "will_be_killed"]

#: The job's message whose end Celery reports at the moment in this thread.
_request: ContextVar[Any] = ContextVar("async_accept_reporting", default=None)
#: The processes that Celery has killed last, because their jobs were over their time.
_killed: deque[Any] = deque(maxlen=100)


@contextmanager
def reporting(request: Any) -> Iterator[None]:
    """While the block runs, what Celery logs is about the end of *request*, a job's message."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def will_be_killed(pid: Any) -> None:
    """Remember a process whose end is no news."""
    if pid is not None:
        _killed.append(pid)


def _of_task(record: logging.LogRecord) -> bool:
    """Filter what Celery logs of a job's message."""
    request = _request.get()
    if request is not None and record.levelno >= logging.ERROR:
        record.job_id = request.id
        if isinstance(record.args, tuple) and record.args and isinstance(record.args[0], TimeLimitExceeded):
            _lower(record)  # on_timeout() says so, with the name of the task
    return True


def _of_process(record: logging.LogRecord) -> bool:
    """Filter what the pool logs of a process that is gone: "Process %r pid:%r exited with %r"."""
    told = record.args
    if record.levelno >= logging.ERROR and isinstance(told, tuple) and len(told) == 3:
        running = [
            request.worker_pid
            for request in list(state.active_requests)
            if getattr(request, "is_jobs", False)
        ]
        if told[1] in running or told[1] in _killed:
            _lower(record)
    return True


def _lower(record: logging.LogRecord) -> None:
    record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)


logging.getLogger("celery.worker.request").addFilter(_of_task)
logging.getLogger("multiprocessing").addFilter(_of_process)
