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
from celery.contrib.django.task import DjangoTask
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry
from django.db import Error
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from .conf import conf
from .db.errors import again_after_outage, is_outage
from .exceptions import AttemptLost, JobCanceled, JobFailed, ViewFailed, WorkEnded, WorkFailed
from .jobs import events, rendering, turns, uploads
from .jobs.attempt import Attempt, begin, current_attempt, end
from .jobs.events import ReceivedEvent
from .jobs.replay import alone, replay
from .models import ATTEMPTS_CEILING, Job, database
from .states import LEASED, State
from .worker.backend import JobBackend
from .worker.errors import IN_TRANSACTION, failure
from .worker.finish import finish_together, leave
from .worker.heartbeat import heartbeat
from .worker.message import attempt_of, is_job, job_of_message

__all__ = ["JobBackend", "JobTask", "atomic_from_here", "handle_event", "probe", "replay_view"]

if TYPE_CHECKING:
    BaseTask = DjangoTask[..., Any]
else:
    BaseTask = DjangoTask


class JobTaskType(type):
    """Puts the app's own task class behind ``JobTask``, as Celery does for a task without ``base``.

    Celery makes a class of each task function, and gives it its app; the app's ``task_cls`` is not known before.
    """

    def __new__(mcs, name: str, bases: tuple[type, ...], members: dict[str, Any]) -> Any:
        app = members.get("app")
        if app is None:
            return super().__new__(mcs, name, bases, members)
        of_app: type[Any] = app.Task
        if not any(issubclass(base, of_app) for base in bases):
            bases = (*(base for base in bases if not issubclass(of_app, base)), of_app)
        if not issubclass(mcs, type(of_app)):  # the project's class has a metaclass, too
            mcs = type(mcs.__name__, (mcs, type(of_app)), {})
        made: Any = super().__new__(mcs, name, bases, members)
        # An end that was wanted is no error for Celery's log, whatever else is none.
        named = _tuple(made.throws) if "throws" in members else (*_tuple(made.throws), *_tuple(of_app.throws))
        made.throws = tuple(dict.fromkeys((*named, WorkEnded)))
        return made

    def mro(cls) -> list[type]:
        """Let the project's class override what Celery's class for Django has, such as ``delay_on_commit()``."""
        order = super().mro()
        order.remove(DjangoTask)
        order.insert(order.index(Task), DjangoTask)
        return order


def _tuple(kinds: Any) -> tuple[Any, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)


class JobTask(BaseTask, metaclass=JobTaskType):
    """Base of every task that runs a job: ``@shared_task(base=JobTask)``.

    The task gets the job's input as keyword arguments. What it returns is the result: a value for 200, or a REST
    framework ``Response`` for another status and headers. To fail with words for the client, raise ``JobFailed``.
    Routing, priorities, time limits, ``retry()`` and ``autoretry_for`` work as in any Celery task; the times of retries
    are kept in the job's row, not in the broker. Its class is also the app's own task class (``task_cls``), so what
    that one overrides holds here, too.

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
            return self._call(event=events.restore(job))
        return self._call(**(uploads.restore(job) or {}))

    def _call(self, **kwargs: Any) -> Any:
        """Call the task's function, through the ``__call__()`` of the project's own task class, if it has one."""
        return super().__call__(**kwargs)

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
        super().before_start(task_id, args, kwargs)

    def _claim(self, task_id: str) -> Job | None:
        """Claim the job; wait for a database that is away, else this worker would empty the queue for nothing."""
        claim = partial(self._claim_once, task_id, timezone.now())
        try:
            return again_after_outage(claim, database(), monotonic() + conf.LEASE.total_seconds())
        except Error:
            return None  # the relay publishes it again

    def _claim_once(self, task_id: str, began: datetime) -> Job | None:
        job = job_of_message(task_id)
        if job is None or job.task != self.name:
            return None
        if job.state in LEASED and (job.started_at, job.worker_pid) == (began, os.getpid()):
            return job  # the try before has claimed it, and then the connection broke
        # A job that was given back waits for its time; then the relay publishes it.
        if job.state != State.ACCEPTED or (job.attempt and not job.dispatches):
            return None
        if turns.waits(job) and not turns.take(job):
            return None
        queue = (self.request.delivery_info or {}).get("routing_key") or ""
        held = job.claim(self.request.hostname or "", os.getpid(), queue, began=began)
        return job if held else None

    # --- Run --------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        attempt = attempt_of(self.request)
        if attempt is None or attempt.entered:
            return super().__call__(*args, **kwargs)
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
        raise failure(error, attempt.job) from error

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
        failed: ViewFailed | None = None
        try:
            with attempt.transaction:
                if self.is_atomic(job):
                    attempt.begin_transaction()
                value = self.work(job)
                attempt.returned = True
                try:
                    attempt.result = rendering.encode(job, value)
                except ViewFailed as error:
                    if not (attempt.atomic and self.keeps_effects_of_errors):
                        raise
                    failed = error
                if attempt.atomic:
                    finish_together(attempt, failure(failed) if failed else None)
        except (Ignore, Reject) as error:
            # "Forget this message" is no end for a job.
            raise RuntimeError(f"A job cannot end by {type(error).__name__}.") from error
        finally:
            uploads.close(job)
        if attempt.atomic:
            leave(attempt)
        if failed is not None:
            raise failed
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
    # A request's transaction is rolled back by what is raised, which REST framework has done by then.
    keeps_effects_of_errors = True

    def is_atomic(self, job: Job) -> bool:
        return bool(job.request and job.request.get("atomic"))

    def _run(self, attempt: Attempt) -> Any:
        try:
            return alone(partial(super()._run, attempt))
        except Error as error:
            by_transaction = attempt.returned or isinstance(error, TransactionManagementError)
            if attempt.hides_transaction and by_transaction and not is_outage(error):
                error.add_note(IN_TRANSACTION)
            raise
        finally:
            if attempt.ended:
                end(attempt)  # here too: inside it was another context

    def work(self, job: Job) -> Any:
        return self._call()


# A view is no task: what it raises is its answer, whatever the project's tasks retry.
@shared_task(base=ReplayTask, name="async_accept.replay", autoretry_for=())
def replay_view() -> Any:
    """Run the view's own logic for a job."""
    attempt = current_attempt()
    if attempt is None or attempt.job.task != "async_accept.replay":
        raise RuntimeError("This task runs captured requests only; it cannot be called.")
    return replay(attempt.job)


class EventTask(JobTask):
    """Runs ``handle()`` of the receiver; its transaction is the receiver's choice (``accept_atomic``)."""

    abstract = True

    def is_atomic(self, job: Job) -> bool:
        return bool(job.request and job.request.get("atomic"))


@shared_task(base=EventTask, name="async_accept.handle", autoretry_for=())
def handle_event(event: ReceivedEvent) -> Any:
    """Run the receiver's own logic for a job."""
    attempt = current_attempt()
    if attempt is None or attempt.job.task != "async_accept.handle":
        raise RuntimeError("This task runs received events only; it cannot be called.")
    return events.handle(attempt.job, event)


@shared_task(base=JobTask, name="async_accept.probe")
def probe() -> str:
    """Do nothing: ``manage.py async_accept doctor`` finds out whether a job makes the round trip."""
    return "pong"
