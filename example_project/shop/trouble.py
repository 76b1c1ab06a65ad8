"""The troublemaker's task: a job that is slow, retries, fails, or loses its worker, for people to watch.

The demo is one process, so killing its worker would kill the web server as well. Celery's `WorkerTerminate` simulates a
lost worker: the worker's thread ends in the middle of the job, and stores nothing, as in a power cut. Then the lease of
the job expires, and the relay starts another attempt, or ends the job as `lost` if no attempt is left. With
`celery worker`, it really ends the process that runs the job. (`SystemExit` would fail the job, as any exception does.)
"""

import time

from celery import shared_task
from celery.exceptions import WorkerTerminate
from django.db import models

from async_accept.progress import current_job, report, track
from async_accept.tasks import JobTask

from .results import TroubleResult

__all__ = ["Kind", "Trouble", "make_trouble"]

_STEP_SECONDS = 0.5
_SLOW_STEPS = 240
_STEPS = 10
# Wait for the next heartbeat, which stores the last message.
_LAST_MESSAGE_STEPS = 5


class Trouble(Exception):
    """Its message contains a password, which no client may see."""


class Kind(models.TextChoices):
    """What is to go wrong."""

    SLOW = "slow", "Be slow"
    RETRY = "retry", "Retry once"
    FAIL = "fail", "Fail"
    LOSE = "lose", "Lose the worker"
    LOSE_ALL = "lose_all", "Lose every worker"


@shared_task(base=JobTask, bind=True, retry_when_lost=True, max_attempts=2)
def make_trouble(self: JobTask, kind: str) -> TroubleResult:
    """Work for some seconds, and go wrong in the middle."""
    job = current_job()
    attempt = job.attempt if job else 1
    steps = _SLOW_STEPS if kind == Kind.SLOW else _STEPS
    for step in track(range(steps), "Working", unit="steps"):
        if step == _STEPS // 2:
            _go_wrong(self, Kind(kind), attempt)
        time.sleep(_STEP_SECONDS)
    return {"kind": kind, "attempts": attempt}


def _go_wrong(task: JobTask, kind: Kind, attempt: int) -> None:
    if kind == Kind.FAIL:
        raise Trouble("could not log in to postgres://shop:hunter2@db.internal")
    if kind == Kind.RETRY and attempt == 1:
        raise task.retry(countdown=3)
    if kind == Kind.LOSE_ALL or (kind == Kind.LOSE and attempt == 1):
        report(
            message=f"Attempt {attempt} of 2 stops here without a message. Its lease expires in about 15 seconds."
        )
        time.sleep(_STEP_SECONDS * _LAST_MESSAGE_STEPS)
        raise WorkerTerminate
