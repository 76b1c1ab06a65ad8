"""``JobTask``: the base of every task that runs a job. It claims the job and does the work.

How an attempt ends, and its whole way, is told in ``worker/finish.py``. Without a job behind the message, a ``JobTask``
is an ordinary task.
"""

import os
from datetime import datetime
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from celery import Task, shared_task
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry
from django.db import Error
from django.utils import timezone

from .conf import conf
from .db.errors import again_after_outage
from .exceptions import AttemptLost, JobCanceled, JobFailed, WorkEnded, WorkFailed
from .jobs import rendering, uploads
from .jobs.attempt import Attempt, begin, current_attempt
from .jobs.replay import replay
from .models import ATTEMPTS_CEILING, Job, database
from .states import LEASED, State
from .worker.backend import JobBackend
from .worker.errors import failure
from .worker.finish import finish, leave
from .worker.heartbeat import heartbeat
from .worker.request import attempt_of, find, is_job

__all__ = ["JobBackend", "JobTask", "atomic_from_here", "probe", "replay_view"]

if TYPE_CHECKING:
    BaseTask = Task[..., Any]
else:
    BaseTask = Task


class JobTask(BaseTask):
    """Base of every task that runs a job: ``@shared_task(base=JobTask)``.

    The task gets the job's input as keyword arguments. What it returns is the result: a value for 200, or a REST
    framework ``Response`` for another status and headers. To fail with words for the client, raise ``JobFailed``.
    Routing, priorities, time limits, ``retry()`` and ``autoretry_for`` work as in any Celery task; the times of retries
    are kept in the job's row, not in the broker.

    What the work raises is passed to Celery as ``WorkFailed``, which keeps its message out of logs and events.
    """

    #: Commit the work and the end of the job in one transaction: its effects in that database happen exactly once for a
    #: success, and not at all for a failure.
    atomic: bool = False
    #: Whether an attempt that was lost with its worker, or with the database, may be repeated.
    retry_when_lost: bool = False
    #: Attempts in all; None takes ``MAX_ATTEMPTS``, or more if ``max_retries`` allows more.
    max_attempts: int | None = None

    Request = "async_accept.worker.request:JobRequest"
    Strategy = "async_accept.worker.request:strategy"
    # Failures and retries are reported to the backend even if results are ignored.
    store_errors_even_if_ignored = True
    # An end that was wanted is no error for Celery's log.
    throws = (WorkEnded,)

    @property  # type: ignore[misc] # nobody sets it
    def backend(self) -> JobBackend:  # type: ignore[override] # as above
        backend = self.__dict__.get("_job_backend")
        if backend is None or backend.app is not self.app:
            backend = self._job_backend = JobBackend(self.app)
        return backend

    @property
    def store_eager_result(self) -> bool:  # type: ignore[override] # nobody sets it
        # Otherwise Celery reports no retry to the backend in eager mode and in tests, and the job would stay running.
        return is_job(self.request) or bool(self.app.conf.task_store_eager_result)

    def AsyncResult(self, task_id: str, **kwargs: Any) -> Any:  # noqa: N802 Celery's name
        return self.app.AsyncResult(task_id, task_name=self.name, **kwargs)

    def is_atomic(self, job: Job) -> bool:
        return self.atomic

    def work(self, job: Job) -> Any:
        """Do the work of *job* and return what it leaves."""
        return self.run(**(uploads.restore(job) or {}))

    # --- Claim ------------------------------------------------------------------------------------------

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Claim the job; without a claim the message is dropped."""
        if not is_job(self.request):
            super().before_start(task_id, args, kwargs)
            return
        job = self._claim(task_id)
        if job is None:
            raise Ignore(f"No job {task_id} waits for this task.")
        self.request.retries = job.retries
        attempt = Attempt(job)
        begin(attempt, inside=bool(self.request.is_eager))
        heartbeat.add(attempt, thread=not self.request.is_eager)

    def _claim(self, task_id: str) -> Job | None:
        """Claim the job; wait for a database that is away, else this worker would empty the queue for nothing."""
        claim = partial(self._claim_once, task_id, timezone.now())
        try:
            return again_after_outage(claim, database(), monotonic() + conf.LEASE.total_seconds())
        except Error:
            return None  # the relay publishes it again

    def _claim_once(self, task_id: str, began: datetime) -> Job | None:
        job = find(task_id)
        if job is None or job.task != self.name:
            return None
        if job.state in LEASED and (job.started_at, job.worker_pid) == (began, os.getpid()):
            return job  # the try before has claimed it, and then the connection broke
        # A job that was given back waits for its time; then the relay publishes it.
        if job.state != State.ACCEPTED or (job.attempt and not job.dispatches):
            return None
        queue = (self.request.delivery_info or {}).get("routing_key") or ""
        held = job.claim(self.request.hostname or "", os.getpid(), queue, began=began)
        return job if held else None

    # --- Run --------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        attempt = attempt_of(self.request)
        if attempt is None or attempt.entered:
            called = super().__call__ if self.request.called_directly else self.run
            return called(*args, **kwargs)
        attempt.entered = True
        try:
            return self._run(attempt)
        except Retry as retry:
            cause = retry.exc if isinstance(retry.exc, BaseException) else None
            if attempt.job.attempt < attempt.job.max_attempts:
                told = WorkFailed(type(cause).__name__) if cause else None
                raise Retry(exc=told, when=retry.when) from None
            error: BaseException = cause or _no_attempt_left(attempt.job)
        except Exception as raised:
            error = raised
        raise failure(error) from error

    def _run(self, attempt: Attempt) -> Any:
        """Do the work; if it is atomic and returns, end the attempt in its transaction."""
        job = attempt.job
        try:
            with attempt.transaction:
                if self.is_atomic(job):
                    attempt.begin_transaction()
                value = self.work(job)
                attempt.result = rendering.encode(job, value)
                if attempt.atomic:
                    finish(attempt)
        except (Ignore, Reject) as error:
            # "Forget this message" is no end for a job.
            raise RuntimeError(f"A job cannot end by {type(error).__name__}.") from error
        finally:
            uploads.close(job)
        if attempt.atomic:
            leave(attempt)
        return value

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: Exception | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """As Celery's, but a job waits in its row, and always keeps its own input.

        Raises:
            Retry: the attempt ends here.
            MaxRetriesExceededError: or *exc*, if no attempt is left.
            TypeError: other arguments were given.
        """
        attempt = attempt_of(self.request)
        if attempt is None:
            return super().retry(args, kwargs, exc, throw, eta, countdown, max_retries, **options)
        if args or kwargs:
            raise TypeError("A job is retried with its own input; retry() takes no other arguments.")
        if isinstance(exc, JobCanceled | AttemptLost | JobFailed):
            raise exc  # autoretry_for = (Exception,) means none of these
        job = attempt.job
        limit = self.max_retries if max_retries is None else max_retries
        if max_retries is not None and self.max_attempts is None:
            job.max_attempts = min(max(job.max_attempts, max_retries + 1), ATTEMPTS_CEILING)
        if job.attempt >= job.max_attempts or (limit is not None and self.request.retries >= limit):
            raise exc or _no_attempt_left(job)
        when: Any = eta or (self.default_retry_delay if countdown is None else countdown)
        ret = Retry(exc=exc, when=when)
        if throw:
            raise ret
        return ret


def _no_attempt_left(job: Job) -> MaxRetriesExceededError:
    return MaxRetriesExceededError(f"Job {job.pk} has no attempt left.")


def atomic_from_here() -> None:
    """Begin the transaction that commits together with the end of the job, or not at all.

    For a task that takes long and writes at its end: ``atomic = True`` would keep the transaction, and what it has
    locked, open all the time. What was written before is not part of it. Outside a job, and a second time, it does
    nothing.

    Raises:
        RuntimeError: inside a transaction of the work's own, which would end first.
    """
    attempt = current_attempt()
    if attempt is not None:
        attempt.begin_transaction()


class ReplayTask(JobTask):
    """Runs the captured view; its transaction is the view's choice (``accept_atomic``)."""

    abstract = True

    def is_atomic(self, job: Job) -> bool:
        return bool(job.request and job.request.get("atomic"))

    def work(self, job: Job) -> Any:
        return replay(job)


@shared_task(base=ReplayTask, name="async_accept.replay")
def replay_view() -> None:
    """Run the view's own logic for a job."""
    raise RuntimeError("This task runs captured requests only; it cannot be called.")


@shared_task(base=JobTask, name="async_accept.probe")
def probe() -> str:
    """Do nothing: ``manage.py async_accept doctor`` finds out whether a job makes the round trip."""
    return "pong"
