"""Helpers for the tests of your project. They need no broker, no worker and no sleep.

A message only says which job waits, so these helpers run a job from its row: inside ``TestCase`` too, and whether
``task_always_eager`` is on or off. The other tasks that the work sends reach no broker; ``sent_tasks()`` has them.
"""

from .looking import accepted_jobs, assert_accepted
from .making import make_job
from .running import RanJob, follow, run_accepted_jobs, run_job
from .sending import SentTask, sent_tasks
from .signing import sign, sign_request

__all__ = [
    "RanJob",
    "SentTask",
    "accepted_jobs",
    "assert_accepted",
    "follow",
    "make_job",
    "run_accepted_jobs",
    "run_job",
    "sent_tasks",
    "sign",
    "sign_request",
]
