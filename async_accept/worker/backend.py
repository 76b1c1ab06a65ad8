"""The result backend of job tasks: what Celery reports of a job's message ends the job's attempt.

Celery reports every end of a task through ``task.backend``: success, failure, retry, revoke, time limit, lost child
process. Messages without a job are reported to the project's own result backend.
"""

import sys
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import states as celery_states
from celery.exceptions import Retry
from celery.worker import state as worker_state
from django_celery_results.backends import DatabaseBackend

from .. import progress
from ..exceptions import WorkFailed
from ..jobs import results
from ..jobs.attempt import current_attempt
from ..problems import from_exception
from .errors import Failure, failure
from .finish import finish, leave
from .message import attempt_of, is_job
from .parent import settle

__all__ = ["JobBackend"]

#: What of the meta-data of ``update_state()`` is progress.
PROGRESS = frozenset({"current", "total", "message"})


class JobBackend(DatabaseBackend):  # type: ignore[misc] # comes without types
    """Ends attempts as Celery reports it.

    Reports come from the process that ran the attempt. If that one is gone, or has not begun, the worker's main
    process reports; there ``attempt_of()`` is None.
    """

    @property
    def ordinary(self) -> Any:
        return self.app.backend

    # --- Reported by the process that ran the attempt ---------------------------------------------------

    def mark_as_done(self, task_id: str, result: Any, request: Any = None, *args: Any, **kwargs: Any) -> None:
        if not is_job(request):
            self.ordinary.mark_as_done(task_id, result, request, *args, **kwargs)
        elif attempt := attempt_of(request):  # None: atomic work has ended its attempt with its transaction
            finish(attempt)

    def mark_as_failure(
        self, task_id: str, exc: Exception, traceback: str | None = None, request: Any = None, **kwargs: Any
    ) -> None:
        if not is_job(request):
            self.ordinary.mark_as_failure(task_id, exc, traceback, request=request, **kwargs)
            return
        # exc is what other processes may know. The exception that was raised is being handled.
        raised = sys.exc_info()[1] or exc
        if isinstance(raised, Failure) and isinstance(exc, WorkFailed):
            exc.error = raised.error  # for on_failure(), task_failure and the log
        if attempt := attempt_of(request):
            finish(attempt, raised if isinstance(raised, Failure) else failure(raised, attempt.job))
        elif isinstance(exc, TimeLimitExceeded):
            settle(request, lambda job: results.fail(job, from_exception(exc), exc, None))
        elif isinstance(exc, WorkerLostError):
            settle(request, lambda job: job.lose("worker: lost"))

    def mark_as_retry(
        self, task_id: str, exc: Any, traceback: str | None = None, request: Any = None, **kwargs: Any
    ) -> None:
        if not is_job(request):
            self.ordinary.mark_as_retry(task_id, exc, traceback, request=request, **kwargs)
        elif attempt := attempt_of(request):
            raised = sys.exc_info()[1]
            finish(attempt, raised if isinstance(raised, Retry) else Retry())
        else:  # a cold shutdown has ended the child
            settle(request, lambda job: job.lose("worker: shut down"))

    def process_cleanup(self) -> None:
        """Leave an attempt whose end nobody has reported; its lease decides."""
        attempt = current_attempt()
        if attempt is not None:
            leave(attempt)
        self.ordinary.process_cleanup()

    # --- Reported by the worker's main process ------------------------------------------------------------

    def mark_as_revoked(self, task_id: str, reason: str = "", request: Any = None, **kwargs: Any) -> None:
        if not is_job(request):
            self.ordinary.mark_as_revoked(task_id, reason, request=request, **kwargs)
        elif bool(worker_state.should_terminate):
            settle(request, lambda job: job.lose("worker: shut down"))
        elif reason == "terminated":
            settle(request, lambda job: job.end_canceled(held=True))
        elif reason != "expired":  # the message may, the job does not
            settle(request, lambda job: job.cancel(), fenced=False)

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
        if not is_job(request) or task_id != request.id:
            return self.ordinary.store_result(task_id, result, state, traceback, request, **kwargs)
        if isinstance(result, dict) and state not in celery_states.ALL_STATES and PROGRESS & result.keys():
            progress.report(result.get("current"), result.get("total"), result.get("message"))
        return result
