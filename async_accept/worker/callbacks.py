"""What atomic work has left to its commit: that fails after the end of the job is stored, and changes it no more.

Django calls no further callback after one that raises, unless that one is ``robust``. Ours are registered last, because
the end is stored last: they send the job's signal and pass on its turn.
"""

import logging
from collections.abc import Callable
from typing import Any

from django.db import connections

from ..exceptions import WorkFailed
from ..jobs.attempt import Attempt
from ..models import Job, database
from .failure_log import show_traceback
from .places import place_in_words
from .shutdown import is_shutdown

__all__ = ["Tolerated", "tolerate"]

logger = logging.getLogger(__name__)
logger.addFilter(show_traceback)


class Tolerated:
    """A callback of the work of *job*; what it raises is logged, and the next callback is called."""

    def __init__(self, callback: Callable[[], object], job: Job) -> None:
        self.callback = callback
        self.job = job

    def __call__(self) -> None:
        try:
            self.callback()
        except BaseException as error:
            if is_shutdown(error):
                raise
            # As an error of the work: without its message.
            failed = WorkFailed(f"{type(error).__name__} in {place_in_words(error)}")
            failed.error = error
            pk = self.job.pk
            logger.error(
                "A callback of job %s failed after the commit: %s",
                *(pk, failed),
                exc_info=failed,
                extra={"job_id": str(pk)},
            )


def tolerate(attempt: Attempt) -> None:
    """Let no callback that the work of *attempt* has given to ``on_commit()`` stop those after it."""
    waiting: list[Any] = connections[database()].run_on_commit
    waiting[attempt.callbacks :] = [
        (ids, callback if robust else Tolerated(callback, attempt.job), robust)
        for ids, callback, robust in waiting[attempt.callbacks :]
    ]
