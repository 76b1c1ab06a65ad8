"""``JobTask``: the base of every task that runs a job. It claims the job and does the work.

How an attempt ends, and its whole way, is told in ``worker/finish.py``. Without a job behind the message, a ``JobTask``
is an ordinary task.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from celery import shared_task
from celery.contrib.django.task import DjangoTask
from celery.exceptions import Ignore, Retry
from django.db import Error, connections
from django.db.transaction import TransactionManagementError

from .conf import conf
from .db.errors import again_after_outage, is_passing
from .exceptions import AttemptLost, JobCanceled, JobFailed, NotInJob, ViewFailed, WorkEnded
from .jobs import answers, events, results, turns, uploads
from .jobs.attempt import Attempt, begin, current_attempt, end
from .jobs.control import hidden_by, is_control
from .jobs.events import ReceivedEvent
from .jobs.replay import REPLAY, alone, replay
from .models import ATTEMPTS_CEILING, Job, database, database_now
from .steps import Step, take
from .worker.backend import JobBackend
from .worker.claims import Claim
from .worker.endings import delay_until, ending, limit_of, no_attempt_left
from .worker.errors import IN_TRANSACTION, Failure, failure
from .worker.finish import finish_together, leave
from .worker.heartbeat import heartbeat
from .worker.interruption import check_connections
from .worker.message import attempt_of, is_job
from .worker.task_type import JobTaskType, guard

__all__ = ["JobBackend", "JobTask", "atomic_from_here", "handle_event", "probe", "replay_view"]

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    BaseTask = DjangoTask[..., Any]
else:
    BaseTask = DjangoTask


class JobTask(BaseTask, metaclass=JobTaskType):
    """Base of every task that runs a job: ``@shared_task(base=JobTask)``.

    The task gets the job's input as keyword arguments. What it returns is the result: a value for 200, or a REST
    framework ``Response`` for another status and headers. To fail with words for the client, raise ``JobFailed``.
    Routing, priorities, time limits, ``retry()`` and ``autoretry_for`` work as in any Celery task; the times of retries
    are kept in the job's row, not in the broker. It also extends the app's own task class (``task_cls``), so
    what that one overrides holds here, too.

    What the work raises is passed to Celery as ``WorkFailed``, which keeps its message out of logs and events.
    """

    #: Commit the work and the end of the job in one transaction: its effects in that database happen exactly once for a
    #: success, and not at all for a failure.
    atomic: bool = False
    #: Whether an attempt that was lost with its worker, or with the database, may be repeated.
    retry_when_lost: bool = False
    #: What atomic work has written stays if it returned an error (a response with 4xx or 5xx). If it raised, all goes.
    keeps_effects_of_errors: bool = False
    #: Attempts in all; None takes ``MAX_ATTEMPTS``, or more if ``max_retries`` allows more.
    max_attempts: int | None = None

    Request = "async_accept.worker.message:JobRequest"
    Strategy = "async_accept.worker.message:strategy"
    # Failures and retries are reported to the backend even if results are ignored.
    store_errors_even_if_ignored = True
    throws = (WorkEnded,)

    @property  # type: ignore[misc] # read only
    def backend(self) -> JobBackend:  # type: ignore[override] # as above
        backend = self.__dict__.get("_job_backend")
        if backend is None or backend.app is not self.app:
            backend = self._job_backend = JobBackend(self.app)
        return backend

    @property
    def store_eager_result(self) -> bool:  # type: ignore[override] # read only
        # Otherwise Celery reports no retry to the backend in eager mode and in tests, and the job would stay running.
        return is_job(self.request) or bool(self.app.conf.task_store_eager_result)

    def AsyncResult(self, task_id: str, **kwargs: Any) -> Any:  # noqa: N802 Celery's name
        return self.app.AsyncResult(task_id, task_name=self.name, **kwargs)

    def is_atomic(self, job: Job) -> bool:
        return self.atomic

    def work(self, job: Job) -> Any:
        """Do the work of *job* and return what it leaves."""
        if events.is_event(job):
            turns.check_sequence(job)
        return self(**self.input_of(job))

    def input_of(self, job: Job) -> dict[str, Any]:
        """Return the arguments of the task, also for its handlers; uploads are open files."""
        return {"event": events.restore(job)} if events.is_event(job) else uploads.restore(job) or {}

    # --- Claim ------------------------------------------------------------------------------------------

    @guard
    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Claim the job; without a claim the message is dropped. An override need not call this."""
        with self.claimed(task_id, kwargs):
            super().before_start(task_id, args, kwargs)

    @contextmanager
    def claimed(self, task_id: str, kwargs: dict[str, Any]) -> Iterator[None]:
        """Claim the job, if there is one and it is not claimed yet; what is raised inside ends the attempt.

        Args:
            kwargs: of the message. They get the job's input, so that handlers and signals see it as of any task.

        Raises:
            Ignore: no job waits for this message.
        """
        if not is_job(self.request):
            yield
            return
        attempt = attempt_of(self.request) or self._begin(task_id)
        with ending(attempt):
            kwargs.update(self.input_of(attempt.job))
            yield

    def _begin(self, task_id: str) -> Attempt:
        job = self._claim(task_id)
        if job is None:
            raise Ignore(f"No job {task_id} waits for this task.")
        request: Any = self.request
        request.retries = job.retries
        # Celery's log shows the arguments of a message that has no such text (eager mode).
        request.argsrepr, request.kwargsrepr = "()", "{}"
        attempt = Attempt(job)
        begin(attempt, inside=bool(self.request.is_eager))
        heartbeat.add(attempt, thread=not self.request.is_eager)
        return attempt

    def _claim(self, task_id: str) -> Job | None:
        """Claim the job; wait for a database that is away, else this worker would empty the queue for nothing."""
        connection: Any = connections[database()]
        with suppress(Error):  # then the time is the database's
            connection.ensure_connection()
            connection.health_check_done = True  # by the claim itself: a dead connection is replaced
        queue = (self.request.delivery_info or {}).get("routing_key") or ""
        claim = Claim(task_id, self.name, self.request.hostname or "", queue, database_now())
        try:
            return again_after_outage(claim.take, database(), monotonic() + conf.LEASE.total_seconds())
        except Error as error:  # the relay publishes it again
            kind = type(error).__name__
            logger.warning("Job %s could not be claimed: %s", task_id, kind, extra={"job_id": task_id})
            return None
        except ValueError as error:
            claim.fail_unreadable(error)
            return None

    # --- Run --------------------------------------------------------------------------------------------

    @guard
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        attempt = self.attempt_to_enter()
        return super().__call__(*args, **kwargs) if attempt is None else self.perform(attempt)

    def attempt_to_enter(self) -> Attempt | None:
        """Return the attempt whose work has not begun; None inside of it, and without a job."""
        attempt = attempt_of(self.request)
        return None if attempt is None or attempt.entered else attempt

    def perform(self, attempt: Attempt) -> Any:
        """Do the work of *attempt* and return what it leaves; what it raises is passed on without its message."""
        attempt.entered = True
        with ending(attempt):
            return take(Step.WORK, attempt.job, partial(self._run, attempt))

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Keep the message's own request for what it calls; Celery's worker does so, its eager mode does not.

        ``Task.__call__`` pushes an empty one.
        """
        top: Any = self.request_stack.top
        if top is None or top.called_directly:
            super().push_request(*args, **kwargs)
        else:
            self.request_stack.push(top)

    def _run(self, attempt: Attempt) -> Any:
        """Do the work; if it is atomic and returns, end the attempt in its transaction."""
        job = attempt.job
        failed: Failure | None = None
        with ExitStack() as at_last:
            at_last.callback(uploads.close, job)
            with attempt.transaction:
                if self.is_atomic(job):
                    attempt.begin_transaction()
                value = self.work(job)
                at_last.callback(results.close, value)
                if not (attempt.atomic or attempt.inside):
                    check_connections()
                attempt.returned = True
                error = _encode(attempt, value)
                if error is not None:
                    if is_control(error) or not (attempt.atomic and self.keeps_effects_of_errors):
                        raise error
                    failed = failure(error, job)
                if attempt.atomic:
                    finish_together(attempt, failed)
            if attempt.atomic:
                leave(attempt)
            if failed is not None:
                raise failed from failed.error
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

        Args:
            exc: the exception that is the reason; the job fails with it if no attempt is left.
            eta: when to try again; a naive one is in UTC, as in Celery's worker.
            countdown: in how many seconds, as any number or a timedelta; at once if negative.
            max_retries: how many retries there are, in place of the task's own number.

        Raises:
            Retry: the attempt ends here.
            MaxRetriesExceededError: or *exc*, if no attempt is left.
            TypeError, ValueError: an argument is not of these, or the time is more than a thousand years away. The
                job's own input cannot be replaced (*args*, *kwargs*).
        """
        attempt = attempt_of(self.request)
        if attempt is None:
            return super().retry(args, kwargs, exc, throw, eta, countdown, max_retries, **options)
        if args or kwargs:
            raise TypeError("A job is retried with its own input; retry() takes no other arguments.")
        if not (exc is None or isinstance(exc, BaseException)):
            raise TypeError(f"exc is {exc!r}; it is an exception.")
        if not (eta is None or isinstance(eta, datetime)):
            raise TypeError(f"eta is {eta!r}; it is a datetime.")
        if isinstance(exc, JobCanceled | AttemptLost | JobFailed):
            raise exc  # autoretry_for = (Exception,) means none of these
        job = attempt.job
        limit = self.max_retries
        if max_retries is not None:
            limit = limit_of(max_retries, ATTEMPTS_CEILING)
            if self.max_attempts is None:
                job.max_attempts = min(max(job.max_attempts, limit + 1), ATTEMPTS_CEILING)
        if job.attempt >= job.max_attempts or (limit is not None and self.request.retries >= limit):
            raise no_attempt_left(job) if exc is None else exc
        when: Any = eta or (self.default_retry_delay if countdown is None else countdown)
        delay_until(when)
        ret = Retry(exc=exc, when=when)
        ret.exc = exc  # itself: Celery has put another in place of what cannot be pickled
        if throw:
            raise ret
        return ret

    # --- What a job has no use for ------------------------------------------------------------------------

    def replace(self, sig: Any) -> Any:
        """As Celery's, but not in a job: its result would come from a message that the job knows nothing of.

        Raises:
            NotInJob: before anything is sent.
        """
        self._refuse_in_job("replace()")
        return super().replace(sig)

    def add_to_chord(self, sig: Any, lazy: Any = False) -> Any:
        """As Celery's, but not in a job, which is in no chord.

        Raises:
            NotInJob: before anything is sent.
        """
        self._refuse_in_job("add_to_chord()")
        return super().add_to_chord(sig, lazy)

    def _refuse_in_job(self, name: str) -> None:
        if attempt_of(self.request) is not None:
            raise NotInJob(f"The task calls {name}, which a job cannot do: call the other task's function.")


def _encode(attempt: Attempt, value: Any) -> BaseException | None:
    """Encode the result of *attempt*; if that is an error response, return the error."""
    try:
        attempt.result = answers.encode(attempt.job, value)
    except ViewFailed as answer:
        return hidden_by(answer, attempt)
    return None


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
    # A request's transaction is rolled back by what is raised, which REST framework has done by then.
    keeps_effects_of_errors = True

    def is_atomic(self, job: Job) -> bool:
        return bool(job.request and job.request.get("atomic"))

    def _run(self, attempt: Attempt) -> Any:
        try:
            return alone(partial(super()._run, attempt))
        except Error as error:
            by_transaction = attempt.returned or isinstance(error, TransactionManagementError)
            if attempt.hides_transaction and by_transaction and not is_passing(error):
                error.add_note(IN_TRANSACTION)
            raise
        finally:
            if attempt.ended:
                end(attempt)  # here too: inside it was another context

    def input_of(self, job: Job) -> dict[str, Any]:
        return {}  # that of the view is no argument


# A view is no task: what it raises is its answer, whatever the project's tasks retry.
@shared_task(base=ReplayTask, name=REPLAY, autoretry_for=())
def replay_view() -> Any:
    """Run the view's own logic for a job."""
    attempt = current_attempt()
    if attempt is None or attempt.job.task != REPLAY:
        raise RuntimeError("This task runs captured requests only; it cannot be called.")
    return replay(attempt.job)


class EventTask(JobTask):
    """Runs ``handle()`` of the receiver; its transaction is the receiver's choice (``accept_atomic``)."""

    abstract = True

    def is_atomic(self, job: Job) -> bool:
        return bool(job.request and job.request.get("atomic"))


@shared_task(base=EventTask, name=events.HANDLE, autoretry_for=())
def handle_event(event: ReceivedEvent) -> Any:
    """Run the receiver's own logic for a job."""
    attempt = current_attempt()
    if attempt is None or attempt.job.task != events.HANDLE:
        raise RuntimeError("This task runs received events only; it cannot be called.")
    return events.handle(attempt.job, event)


@shared_task(base=JobTask, name="async_accept.probe")
def probe() -> str:
    """Do nothing: ``manage.py async_accept doctor`` finds out whether a job makes the round trip."""
    return "pong"
