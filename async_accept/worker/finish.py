"""How an attempt ends: what its own process ends is decided and stored here.

The way of one attempt, from top to bottom:

claim   ``JobTask.before_start`` (tasks.py) takes the job by one UPDATE, makes its ``Attempt`` (jobs/attempt.py) the
        current one, and lets the heartbeat (worker/heartbeat.py) prolong the lease.
run     ``JobTask.__call__`` (tasks.py) does the work: the task's function, or the captured view (jobs/replay.py).
        What it returns is encoded (jobs/results.py) and kept in the attempt; what it raises, whatever that is
        (worker/endings.py), goes to Celery.
decide  ``decide()`` says how the attempt ends: with a result, a problem, a cancellation, a retry, or lost with the
        database.
store   ``finish()`` stores that by one UPDATE, which matches only if this attempt still holds the job (``Job._move``
        in models.py), and the value in the same transaction. For atomic work that returned, ``JobTask`` calls
        ``finish_together()`` in its place, inside the transaction of the work. For everything else Celery reports to
        ``JobBackend`` (worker/backend.py), which calls it; then a store that fails is tried again while the database
        is away. Any other fault costs the progress or the result, but never the end.
tell    The job's signal is sent after the commit, whatever the work's own callbacks do then (worker/callbacks.py). An
        error of the work is logged. ``leave()`` stops the heartbeat.

If the process is gone, worker/parent.py ends the attempt for it, and if the whole worker is gone, jobs/relay.py does.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from time import monotonic
from traceback import format_exception
from typing import Any

from celery.exceptions import Retry, SoftTimeLimitExceeded
from django.db import Error, connections
from kombu.exceptions import EncodeError

from .. import encoding
from ..conf import conf
from ..db.errors import again_after_outage, is_passing
from ..exceptions import AttemptLost, JobCanceled, Unencodable, WorkEnded, WorkFailed
from ..jobs import results
from ..jobs.attempt import Attempt, end
from ..models import Job, database
from ..states import State
from .callbacks import tolerate
from .errors import Failure, failure
from .failure_log import celery_logs, show_traceback
from .heartbeat import heartbeat
from .interruption import mend_connections
from .places import trimmed, work_of
from .shutdown import is_shutdown

__all__ = ["finish", "finish_together", "leave"]

logger = logging.getLogger(__name__)
logger.addFilter(show_traceback)

#: The operations whose results were said to be large.
hinted: set[str] = set()

#: Stores an end, with the columns that show the last progress; False if the attempt no longer holds the job.
Store = Callable[..., bool]

#: For how long an end is kept in memory while the database is away. Nobody can take the job meanwhile, and when the
#: database is back, the relays wait two heartbeats before they do, so that there is time to store it.
STORE_SECONDS = 600.0


class Unstored(Failure, EncodeError):
    """The work returned, but its result could not be stored, and so the job has failed.

    Celery takes an EncodeError from its result backend as the failure of the task, and reports and logs it so.
    """


def finish(attempt: Attempt, raised: Failure | Retry | None = None) -> None:
    """End *attempt*: its work has *raised* something, or it returned (None) and ``attempt.result`` has the result.

    Raises:
        Unstored: the result could not be stored; the attempt has ended all the same.
    """
    try:
        failed = _store(attempt, raised)
        if failed is not None:
            # Celery is silent about what it knows nothing of, and outside of a worker.
            _tell(attempt.job, failed, celery_tells=not isinstance(raised, Retry) and celery_logs())
        elif raised is None:
            _hint(attempt.job, attempt.result)
    finally:
        leave(attempt)
    if raised is None and failed is not None:
        raise failed from failed.error


def finish_together(attempt: Attempt, failed: Failure | None = None) -> None:
    """End *attempt* inside the transaction of its work; the caller commits it, and then leaves the attempt.

    What the work has left to ``on_commit()`` may fail then, which is logged, and changes nothing.

    Args:
        failed: the error that the work returned, if it did; what it has written stays.

    Raises:
        AttemptLost: the attempt no longer holds its job. So all of it is rolled back.
        django.db.Error: the database has rolled it back already.
    """
    if attempt.rolled_back is not None:
        raise attempt.rolled_back
    store = decide(attempt, failed)
    attempt.before_end = dict(vars(attempt.job))
    if not store(**attempt.progress.snapshot()):
        raise AttemptLost("This attempt was given up for lost.")
    tolerate(attempt)
    if failed is None:
        _hint(attempt.job, attempt.result)


def leave(attempt: Attempt) -> None:
    """Stop the heartbeat of *attempt*; it is the current one no longer."""
    attempt.ended = True
    heartbeat.remove(attempt)
    end(attempt)


# --- Decide -----------------------------------------------------------------------------------------------------------


def decide(attempt: Attempt, raised: Failure | Retry | None) -> Store:
    """Return what stores the end of *attempt*, whose work has *raised* something, or returned (None)."""
    job = attempt.job
    if raised is None:
        attempt.progress.stage()  # who returns has gone on from each loop that was left early
        return partial(results.succeed, job, attempt.result)
    if isinstance(raised, Retry):
        return partial(_give_back, job, raised)
    error = raised.error
    if isinstance(error, AttemptLost):
        return _nothing
    if isinstance(error, JobCanceled):
        return partial(job.end_canceled, held=True, code=error.code)
    passes = is_passing(error, own=attempt.returned)
    if passes and job.retry_when_lost and job.attempt < job.max_attempts:
        return partial(_lose, job, error)
    attempt.error = error
    return partial(_fail, job, raised)


def _nothing(**shown: Any) -> bool:
    """Store nothing: another attempt may hold the job."""
    return False


def _give_back(job: Job, retry: Retry, **shown: Any) -> bool:
    """Let the job wait for its retry; one that is being canceled ends here."""
    reason = f"retry: {retry.exc}" if isinstance(retry.exc, WorkFailed) else "retry"
    seconds: Any = retry.when or 0  # ``JobTask`` has made a number of it
    return job.give_back(timedelta(seconds=seconds), reason, retries=1, **shown) or job.end_canceled(
        leave=[State.CANCELING], held=True, **shown
    )


def _lose(job: Job, error: BaseException, **shown: Any) -> bool:
    """Give the job up as lost with its database: work that may be repeated is. Its progress is not stored."""
    return job.lose(f"database: {type(error).__name__}")


def _fail(job: Job, failed: Failure, **shown: Any) -> bool:
    # The message of the error as well: the admin shows it to those who may see tracebacks.
    error = failed.error
    traceback = "".join(format_exception(type(error), error, trimmed(error.__traceback__)))
    return results.fail(job, failed.document, failed.error, traceback, **shown)


# --- Store ------------------------------------------------------------------------------------------------------------


def _store(attempt: Attempt, raised: Failure | Retry | None) -> Failure | None:
    """Store how *attempt* ends; return what failed its job, if it has failed.

    It tries again while the database is away; then the lease decides. Whatever else goes wrong costs the progress
    first, then the result or the retry, but the job always ends.
    """
    job, using = attempt.job, database()
    if not attempt.inside:
        mend_connections()
    until = monotonic() + STORE_SECONDS
    failed = raised if isinstance(raised, Failure) else None
    ways: list[Callable[[], bool]] = [
        lambda: decide(attempt, raised)(**attempt.progress.snapshot()),
        lambda: decide(attempt, raised)(),
    ]
    is_last = False
    while True:
        try:
            stored = again_after_outage(ways[0], using, until, unless=lambda: attempt.taken)
            return failed if stored and job.state == State.FAILED else None
        except SoftTimeLimitExceeded:
            # The work is over, so this goes on; the hard limit bounds it.
            if connections[using].in_atomic_block and attempt.inside:
                raise
            if attempt.inside:
                connections[using].close()
            else:
                mend_connections()
        except BaseException as error:
            if is_shutdown(error):
                raise
            if is_last or _is_hopeless(error, attempt, using):
                logger.error(
                    "The end of job %s is not stored: %s",
                    job.pk,
                    type(error).__name__,
                    extra={"job_id": str(job.pk)},
                )
                return None
            if len(ways) > 1:
                del ways[0]
                continue
            if failed is None:
                failed = _unstored(error, job)
                attempt.error = failed.error
            ways, is_last = [partial(job.fail, failed.document)], True


def _is_hopeless(error: BaseException, attempt: Attempt, using: str) -> bool:
    """Whether the database takes nothing else, either."""
    return isinstance(error, Error) and (
        is_passing(error, own=True) or attempt.taken or connections[using].in_atomic_block
    )


def _unstored(error: BaseException, job: Job) -> Failure:
    """Return what fails *job*, whose result or retry cannot be stored because of *error*."""
    if isinstance(error, Error):
        refused = Unencodable("The database does not take the result.")
        refused.__cause__ = error
        error = refused
    failed = failure(error, job)
    return Unstored(str(failed), failed.error, failed.document)


# --- Tell -------------------------------------------------------------------------------------------------------------


def _tell(job: Job, failed: Failure, *, celery_tells: bool) -> None:
    """Log an error of the work, unless Celery's own log does: the reference must be found."""
    if not celery_tells and not isinstance(failed, WorkEnded):
        logger.error("Job %s failed: %s", job.pk, failed, exc_info=failed, extra={"job_id": str(job.pk)})


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
