"""The result backend of job tasks: the only place where Celery's word becomes a job's transition.

Celery reports every outcome of a task through ``task.backend``: success, failure, retry, revoke, time limit, lost child
process. It works whatever backend the project has for its other tasks.
"""

import logging
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from traceback import format_exception
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import states as celery_states
from celery.exceptions import Retry, SoftTimeLimitExceeded
from celery.worker import state as worker_state
from django.db import Error, connections
from django.db.models import Q
from django.utils import timezone
from django_celery_results.backends import DatabaseBackend

from .. import progress
from ..db.errors import again_after_outage, is_outage
from ..exceptions import AttemptLost, JobCanceled, WorkFailed
from ..jobs import results
from ..jobs.attempt import Attempt, current_attempt, end
from ..models import database
from ..problems import from_exception, is_unexpected, problem
from ..states import State
from .errors import Failure, failure
from .heartbeat import heartbeat
from .parent import speak_for
from .request import is_job

__all__ = ["JobBackend", "leave"]

logger = logging.getLogger(__name__)

#: For how long an outcome is kept in memory. While the database is away nobody can take the job, and when it is back
#: the relays wait two heartbeats, so that there is time to store it then.
STORE_SECONDS = 600.0


class JobBackend(DatabaseBackend):  # type: ignore[misc] # comes without types
    """Turns what Celery reports of a job's message into the job's transition.

    For messages without a job everything goes to the project's own result backend.
    """

    @property
    def ordinary(self) -> Any:
        return self.app.backend

    # --- Reported by the process that ran the attempt ---------------------------------------------------

    def mark_as_done(self, task_id: str, result: Any, request: Any = None, *args: Any, **kwargs: Any) -> None:
        if not is_job(request):
            self.ordinary.mark_as_done(task_id, result, request, *args, **kwargs)
            return
        attempt = current_attempt()
        if attempt is not None and not attempt.ended:
            _store(
                attempt,
                lambda shown: results.succeed(attempt.job, attempt.result, **shown),
                or_else=lambda: attempt.job.fail(problem("result-unencodable")),
            )

    def mark_as_failure(
        self, task_id: str, exc: Exception, traceback: str | None = None, request: Any = None, **kwargs: Any
    ) -> None:
        if not is_job(request):
            self.ordinary.mark_as_failure(task_id, exc, traceback, request=request, **kwargs)
            return
        attempt = current_attempt()
        if attempt is None:
            if isinstance(exc, TimeLimitExceeded):
                speak_for(request, lambda job: results.fail(job, from_exception(exc), exc, None))
            elif isinstance(exc, WorkerLostError):
                speak_for(request, lambda job: job.lose("worker: lost"))
            return
        # Celery hands over what other processes may know; what was raised is being handled.
        raised = sys.exc_info()[1] or exc
        failed = raised if isinstance(raised, Failure) else failure(raised)
        if isinstance(exc, WorkFailed):
            exc.error = failed.error
        if not attempt.ended:
            _store(
                attempt,
                lambda shown: _fail(attempt, failed, shown),
                or_else=lambda: attempt.job.fail(failed.document),
            )

    def mark_as_retry(
        self, task_id: str, exc: Any, traceback: str | None = None, request: Any = None, **kwargs: Any
    ) -> None:
        if not is_job(request):
            self.ordinary.mark_as_retry(task_id, exc, traceback, request=request, **kwargs)
            return
        attempt = current_attempt()
        if attempt is None:  # a cold shutdown: the main process has ended the child
            speak_for(request, lambda job: job.lose("worker: shut down"))
        elif not attempt.ended:
            reason = sys.exc_info()[1]
            _store(attempt, lambda shown: _give_back(attempt, reason, shown))

    # --- Reported by the worker's main process ------------------------------------------------------------

    def mark_as_revoked(self, task_id: str, reason: str = "", request: Any = None, **kwargs: Any) -> None:
        if not is_job(request):
            self.ordinary.mark_as_revoked(task_id, reason, request=request, **kwargs)
        elif bool(worker_state.should_terminate):
            speak_for(request, lambda job: job.lose("worker: shut down"))
        elif reason == "terminated":
            speak_for(request, lambda job: job.end_canceled(fence=Q(attempt=job.attempt)))
        elif reason != "expired":  # the message may, the job does not
            speak_for(request, lambda job: job.cancel(), fenced=False)

    # --- Everything else ------------------------------------------------------------------------------------

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Take ``update_state(meta={"current": …, "total": …})`` as progress; the claim tells that a job started."""
        if not is_job(request):
            return self.ordinary.store_result(task_id, result, state, traceback, request, **kwargs)
        if isinstance(result, dict) and state not in celery_states.ALL_STATES:
            progress.report(result.get("current"), result.get("total"), result.get("message"))
        return result

    def process_cleanup(self) -> None:
        """Let go of a run that left without an outcome; its lease decides."""
        attempt = current_attempt()
        if attempt is not None:
            leave(attempt)
        self.ordinary.process_cleanup()


# --- Transitions ----------------------------------------------------------------------------------------------------


def leave(attempt: Attempt) -> None:
    """The attempt is over, whatever came of it."""
    attempt.ended = True
    heartbeat.remove(attempt)
    end(attempt)


def _store(
    attempt: Attempt,
    transition: Callable[[dict[str, Any]], object],
    or_else: Callable[[], object] | None = None,
) -> None:
    """Make *transition*, again on a fresh connection while the database is away; then the lease decides.

    What the tables cannot hold costs first the progress, then the answer, but no job its end.

    Args:
        transition: gets the columns that show the last progress.
        or_else: ends the job with nothing but a problem.
    """
    using = database()
    until = monotonic() + STORE_SECONDS
    tries: list[Callable[[], object]] = [
        lambda: transition(attempt.progress.snapshot()),
        lambda: transition({}),
    ]
    if or_else is not None:
        tries.append(or_else)
    try:
        while True:
            try:
                again_after_outage(tries[0], using, until, unless=lambda: attempt.taken)
                return
            except SoftTimeLimitExceeded:
                # The work is over; what is left is bounded by the hard limit.
                if connections[using].in_atomic_block:
                    raise
                connections[using].close()
            except Error as error:
                del tries[0]
                if connections[using].in_atomic_block or attempt.taken or is_outage(error) or not tries:
                    logger.error(
                        "The outcome of job %s is not stored: %s",
                        attempt.job.pk,
                        type(error).__name__,
                        extra={"job_id": str(attempt.job.pk)},
                    )
                    return
    finally:
        leave(attempt)


def _fail(attempt: Attempt, failed: Failure, shown: dict[str, Any]) -> None:
    job, error = attempt.job, failed.error
    if error is None or isinstance(error, AttemptLost):
        return
    if isinstance(error, JobCanceled):
        job.end_canceled(fence=Q(attempt=job.attempt), **shown)
        return
    if is_outage(error) and job.retry_when_lost and job.attempt < job.max_attempts:
        job.lose(f"database: {type(error).__name__}")
        return
    attempt.error = error
    # The whole story, messages included, is for those who may read celery's result storage.
    traceback = "".join(format_exception(error))
    if results.fail(job, failed.document, error, traceback, **shown) and is_unexpected(failed.document):
        # Celery's own log is silent outside of its worker program, and the reference must be found.
        logger.error("Job %s failed: %s", job.pk, failed, extra={"job_id": str(job.pk)})


def _give_back(attempt: Attempt, reason: BaseException | None, shown: dict[str, Any]) -> None:
    """Let the job wait for its retry; one that is being canceled has come to its end."""
    job = attempt.job
    when = getattr(reason, "when", None)
    if isinstance(when, datetime):
        when = (when - timezone.now()).total_seconds()
    cause = reason.exc if isinstance(reason, Retry) else None
    word = f"retry: {cause}" if isinstance(cause, WorkFailed) else "retry"
    if not job.give_back(timedelta(seconds=max(when or 0, 0)), word, retries=1, **shown):
        job.end_canceled(leave=[State.CANCELING], fence=Q(attempt=job.attempt), **shown)
