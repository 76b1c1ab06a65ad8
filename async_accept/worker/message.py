"""The messages of jobs, as a worker takes them from the broker.

A message only says which job waits. It is acknowledged as soon as a process has it, and dropped if it cannot be read.
"""

import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from uuid import UUID

from billiard.exceptions import WorkerLostError
from celery.exceptions import InvalidTaskError
from celery.worker.request import Request
from celery.worker.strategy import default as default_strategy
from kombu.utils.compat import detect_environment

from ..jobs.attempt import Attempt, current_attempt
from ..jobs.publish import HEADER
from ..jobs.relay import wake
from ..models import Job
from .deaths import reporting, will_be_killed

__all__ = ["JobRequest", "attempt_of", "id_of_message", "is_job", "job_of_message", "strategy"]

logger = logging.getLogger(__name__)


def is_job(request: Any) -> bool:
    """Tell whether the message behind *request* is a job's."""
    return bool(request) and bool(getattr(request, HEADER, None) or (request.headers or {}).get(HEADER))


def id_of_message(task_id: Any) -> UUID | None:
    """Return the id of the job that a message names; None if it is no id of ours."""
    try:
        pk = UUID(task_id)
    except (AttributeError, TypeError, ValueError):  # a forged message
        return None
    return pk if str(pk) == task_id else None


def job_of_message(task_id: Any) -> Job | None:
    """Return the job that a message names; None if there is none."""
    pk = id_of_message(task_id)
    return None if pk is None else Job.objects.filter(pk=pk).first()


def attempt_of(request: Any) -> Attempt | None:
    """Return the attempt that a job's message has begun in this context; None before its beginning and after its end.

    So it is None in the worker's main process, too.
    """
    attempt = current_attempt()
    return attempt if attempt is not None and str(attempt.job.pk) == request.id else None


class JobRequest(Request):
    """Acknowledges a job's message as soon as a child process has it: from then on the lease protects the job.

    So late acknowledgement (``acks_late``, ``reject_on_worker_lost``) is for messages without a job.
    """

    @property
    def is_jobs(self) -> bool:
        return bool(self.request_dict.get(HEADER))

    def on_accepted(self, pid: Any, time_accepted: float) -> None:
        # If this child dies, only the attempt that it has begun is lost. gevent and eventlet tell the number of a
        # greenlet here; the claim has the process.
        self.request_dict["worker_pid"] = pid if detect_environment() == "default" else os.getpid()
        if self.is_jobs:
            self.acknowledge()
        super().on_accepted(pid, time_accepted)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        with reporting(self) if self.is_jobs else nullcontext():
            super().on_failure(exc_info, *args, **kwargs)
        request: Any = self
        if self.is_jobs and request.task.acks_late and request.task.reject_on_worker_lost:
            # Celery has not reported this: it has left it to the broker, which has no message any more.
            error = getattr(exc_info.exception, "exc", exc_info.exception)
            stopped = request._already_cancelled or request._already_revoked
            if isinstance(error, WorkerLostError | SystemExit | KeyboardInterrupt) and not stopped:
                lost = WorkerLostError("The process is gone.")
                request.task.backend.mark_as_failure(self.id, lost, request=request._context)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        if not soft and self.is_jobs:
            will_be_killed(self.worker_pid)
        with reporting(self) if self.is_jobs else nullcontext():
            super().on_timeout(soft, timeout)

    def on_retry(self, exc_info: Any) -> None:
        super().on_retry(exc_info)
        wake()


def strategy(task: Any, app: Any, consumer: Any, **kwargs: Any) -> Callable[..., Any]:
    """Handle messages as Celery does, but drop those that it cannot read.

    Some of them would end the whole worker, and then the next one: the broker delivers the message again.
    """
    handle = default_strategy(task, app, consumer, **kwargs)

    def handle_or_drop(*args: Any, **kwargs: Any) -> Any:
        try:
            return handle(*args, **kwargs)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise InvalidTaskError(f"The message is malformed ({type(error).__name__}).") from None

    return handle_or_drop
