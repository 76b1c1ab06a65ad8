"""The troublemaker's task: a job that is slow, stumbles, fails, or loses its worker, for people to watch.

The demo is one process, so killing its worker would take the web server with it. A lost worker is played by
a thread that ends in mid-job, by `SystemExit`: no outcome is stored and nobody reports one, just as when a machine
loses its power. So the job's lease runs out, and the relay gives it to another attempt, or ends it as
`lost` when no attempt is left. (A worker of its own, started by `celery worker`, dies of it in earnest.)
"""

import time

from celery import shared_task
from django.db import models

from async_accept.progress import current_job, report, track
from async_accept.tasks import JobTask

__all__ = ["Kind", "Trouble", "stumble"]

_STEP_SECONDS = 0.5
_SLOW_STEPS = 240
_STEPS = 10
# Enough for the heartbeat to show the last message.
_FAREWELL_STEPS = 5


class Trouble(Exception):
    """Its message holds what no client may see."""


class Kind(models.TextChoices):
    """What goes wrong."""

    SLOW = "slow", "Be slow"
    RETRY = "retry", "Stumble once"
    FAIL = "fail", "Fail"
    LOSE = "lose", "Lose the worker"
    LOSE_ALL = "lose_all", "Lose every worker"


@shared_task(base=JobTask, bind=True, retry_when_lost=True, max_attempts=2)
def stumble(self: JobTask, kind: str) -> dict[str, int | str]:
    """Work for some seconds, and go wrong half way."""
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
            message=f"Attempt {attempt} of 2 stops here without a word. Its lease decides, in 15 seconds or so."
        )
        time.sleep(_STEP_SECONDS * _FAREWELL_STEPS)
        raise SystemExit
