"""How an attempt ends: what its own process ends is decided and stored here.

The way of one attempt, from top to bottom:

claim   ``JobTask.before_start`` (tasks.py) takes the job by one UPDATE, makes its ``Attempt`` (jobs/attempt.py) the
        current one, and lets the heartbeat (worker/heartbeat.py) prolong the lease.
run     ``JobTask.__call__`` (tasks.py) does the work: the task's function, or the captured view (jobs/replay.py).
        What it returns is encoded (jobs/results.py) and kept in the attempt; what it raises goes to Celery.
decide  ``decide()`` says how the attempt ends: with a result, a problem, a cancellation, a retry, or lost with the
        database.
store   ``finish()`` stores that by one UPDATE, which matches only if this attempt still holds the job (``Job._move``
        in models.py), and the value in the same transaction. For atomic work that returned, ``JobTask`` calls
        ``finish_together()`` in its place, inside the transaction of the work. For everything else Celery reports to
        ``JobBackend`` (worker/backend.py), which calls it; then a store that fails is tried again while the database
        is away.
tell    The job's signal is sent after the commit, and an error of the work is logged. ``leave()`` stops the heartbeat.

If the process is gone, worker/parent.py ends the attempt for it, and if the whole worker is gone, jobs/relay.py does.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from traceback import format_exception
from typing import Any, NamedTuple

from celery.exceptions import Retry, SoftTimeLimitExceeded
from django.db import Error, connections
from django.db.models import Q
from django.utils import timezone

from .. import encoding
from ..conf import conf
from ..db.errors import again_after_outage, is_outage
from ..exceptions import AttemptLost, JobCanceled, WorkEnded, WorkFailed
from ..jobs import results
from ..jobs.attempt import Attempt, end
from ..models import Job, database
from ..problems import problem
from ..states import State
from .errors import Failure, celery_logs, show_traceback, trimmed, work_of
from .heartbeat import heartbeat

__all__ = ["finish", "finish_together", "leave"]

logger = logging.getLogger(__name__)
logger.addFilter(show_traceback)

#: The operations whose results were said to be large.
hinted: set[str] = set()

#: For how long an end is kept in memory while the database is away. Nobody can take the job meanwhile, and when the
#: database is back, the relays wait two heartbeats before they do, so that there is time to store it.
STORE_SECONDS = 600.0


class End(NamedTuple):
    """How an attempt ends."""

    #: Store it, with the columns that show the last progress; False if the attempt no longer holds the job.
    store: Callable[..., bool]
    #: End the job with nothing but a problem, if the tables cannot hold the rest; None leaves it to the lease.
    bare: Callable[[], bool] | None = None
    #: What failed the job.
    failed: Failure | None = None


def finish(attempt: Attempt, raised: Failure | Retry | None = None) -> None:
    """End *attempt*: its work has *raised* something, or it returned (None) and ``attempt.result`` has the result."""
    ending = decide(attempt, raised)
    if raised is None:
        _hint(attempt.job, attempt.result)
    try:
        if _store(attempt, ending):
            _tell(attempt.job, ending)
    finally:
        leave(attempt)


def finish_together(attempt: Attempt, failed: Failure | None = None) -> None:
    """End *attempt* inside the transaction of its work; the caller commits it, and then leaves the attempt.

    Args:
        failed: the error that the work returned, if it did; what it has written stays.

    Raises:
        AttemptLost: the attempt no longer holds its job. So all of it is rolled back.
    """
    ending = decide(attempt, failed)
    if failed is None:
        _hint(attempt.job, attempt.result)
    if not ending.store(**attempt.progress.snapshot()):
        raise AttemptLost("This attempt was given up for lost.")


def leave(attempt: Attempt) -> None:
    """Stop the heartbeat of *attempt*; it is the current one no longer."""
    attempt.ended = True
    heartbeat.remove(attempt)
    end(attempt)


# --- Decide -----------------------------------------------------------------------------------------------------------


def decide(attempt: Attempt, raised: Failure | Retry | None) -> End:
    """Return how *attempt* ends whose work has *raised* something, or returned (None)."""
    job = attempt.job
    if raised is None:
        attempt.progress.stage()  # who returns has gone on from each loop that was left early
        return End(
            partial(results.succeed, job, attempt.result), lambda: job.fail(problem("result-unencodable"))
        )
    if isinstance(raised, Retry):
        return End(partial(_give_back, job, raised))
    error, bare = raised.error, partial(job.fail, raised.document)
    if isinstance(error, AttemptLost):
        return End(_nothing)
    if isinstance(error, JobCanceled):
        return End(partial(job.end_canceled, fence=Q(attempt=job.attempt), code=error.code), bare)
    if is_outage(error) and job.retry_when_lost and job.attempt < job.max_attempts:
        return End(partial(_lose, job, error), bare)
    attempt.error = error
    return End(partial(_fail, job, raised), bare, raised)


def _nothing(**shown: Any) -> bool:
    """Store nothing: another attempt may hold the job."""
    return False


def _give_back(job: Job, retry: Retry, **shown: Any) -> bool:
    """Let the job wait for its retry; one that is being canceled ends here."""
    when: Any = retry.when
    if isinstance(when, datetime):
        when = (when - timezone.now()).total_seconds()
    reason = f"retry: {retry.exc}" if isinstance(retry.exc, WorkFailed) else "retry"
    return job.give_back(
        timedelta(seconds=max(when or 0, 0)), reason, retries=1, **shown
    ) or job.end_canceled(leave=[State.CANCELING], fence=Q(attempt=job.attempt), **shown)


def _lose(job: Job, error: BaseException, **shown: Any) -> bool:
    """A fault of the database is no fault of work that may be repeated."""
    return job.lose(f"database: {type(error).__name__}")


def _fail(job: Job, failed: Failure, **shown: Any) -> bool:
    # The message of the error as well: the admin shows it to those who may see tracebacks.
    error = failed.error
    traceback = "".join(format_exception(type(error), error, trimmed(error.__traceback__)))
    return results.fail(job, failed.document, failed.error, traceback, **shown)


# --- Store ------------------------------------------------------------------------------------------------------------


def _store(attempt: Attempt, ending: End) -> bool:
    """Store how *attempt* ends; try again while the database is away, then the lease decides.

    What the tables cannot hold costs the progress first, then the result, but the job always ends.
    """
    using = database()
    until = monotonic() + STORE_SECONDS
    tries = [lambda: ending.store(**attempt.progress.snapshot()), ending.store]
    if ending.bare is not None:
        tries.append(ending.bare)
    while True:
        try:
            return again_after_outage(tries[0], using, until, unless=lambda: attempt.taken)
        except SoftTimeLimitExceeded:
            # The work is over, so this goes on; the hard limit bounds it.
            if connections[using].in_atomic_block:
                raise
            connections[using].close()
        except Error as error:
            del tries[0]
            if not tries or is_outage(error) or attempt.taken or connections[using].in_atomic_block:
                pk, kind = attempt.job.pk, type(error).__name__
                logger.error("The end of job %s is not stored: %s", pk, kind, extra={"job_id": str(pk)})
                return False


# --- Tell -------------------------------------------------------------------------------------------------------------


def _tell(job: Job, ending: End) -> None:
    """Log an error of the work if Celery's own log is silent here: the reference must be found."""
    failed = ending.failed
    if failed is not None and not isinstance(failed, WorkEnded) and not celery_logs():
        told = "\n".join([str(failed), *getattr(failed.error, "__notes__", ())])
        logger.error("Job %s failed: %s", job.pk, told, exc_info=failed, extra={"job_id": str(job.pk)})


def _hint(job: Job, result: results.Result) -> None:
    """Say in time that the results of an operation grow towards the limit, once in each process."""
    if not isinstance(result.body, str):
        return
    size = encoding.size_bytes(result.body)
    if size * 2 <= conf.MAX_RESULT_BYTES or job.operation in hinted:
        return
    hinted.add(job.operation)
    logger.warning(
        "A result of %s has %d bytes, from %s. With more than %d (MAX_RESULT_BYTES) the job fails.",
        job.operation,
        size,
        work_of(job),
        conf.MAX_RESULT_BYTES,
        extra={"job_id": str(job.pk)},
    )
