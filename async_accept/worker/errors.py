"""What Celery, its log and other processes may know of an error: its kind and its place, but not its message.

The error itself stays in the process that raised it. The log of that process also has the traceback, without any
message (``failure_log.py``).
"""

from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db.transaction import TransactionManagementError

from ..exceptions import (
    AttemptLost,
    NotInJob,
    NotKept,
    ResultTooLarge,
    Unencodable,
    WorkEnded,
    WorkFailed,
    new_reference,
)
from ..models import Job
from ..problems import Problem, from_exception, is_unexpected, problem
from .places import place_in_words, place_of, work_of

__all__ = ["IN_TRANSACTION", "Failure", "explain_transaction", "failure"]

#: What is wrong with a result; its problem has no reference.
RESULT_ERRORS = (ResultTooLarge, Unencodable)

#: Added to what fails only because a view is replayed in a transaction, which its request had not.
IN_TRANSACTION = (
    "The request of this view is in no transaction (ATOMIC_REQUESTS), but its replay commits together with the end of "
    "the job (accept_atomic). So this error came from a transaction, or only at its commit. There are two ways out: "
    "accept_atomic = False, then the effects of a lost attempt may happen twice; or transaction.atomic() around what "
    "the view writes, then the request meets the same error."
)
#: Added to what fails because the work itself, or its request (ATOMIC_REQUESTS), is in a transaction.
BROKEN_TRANSACTION = (
    "This work runs in one transaction. Either an error of the database was caught inside of it, which has broken it, "
    "or it opens a transaction that must be the outermost (durable=True). There are two ways out: transaction.atomic() "
    "around just the statement whose error is caught; or no such transaction, by atomic = False or atomic_from_here() "
    "of a task, and by @transaction.non_atomic_requests of a view with ATOMIC_REQUESTS."
)
#: Notes of ours, which the log may show; any other note may hold anybody's data.
NOTES = (IN_TRANSACTION, BROKEN_TRANSACTION)
#: How Django refuses ``atomic(durable=True)`` inside of a transaction: by a plain RuntimeError.
NOT_DURABLE = "A durable atomic block cannot be nested"


class Failure(WorkFailed):
    """Carries an error, and the problem that it leaves, from the task to its backend.

    It cannot be pickled, so Celery passes on its base class, ``WorkFailed``, with the summary.
    """

    error: BaseException

    def __init__(self, summary: str, error: BaseException, document: Problem) -> None:
        super().__init__(summary)
        self.error = error
        self.document = document

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("An error stays in its process.")


class Ending(Failure, WorkEnded):
    """As ``Failure``, for an end that was wanted."""


def failure(error: BaseException, job: Job | None = None) -> Failure:
    """Wrap what the task of *job* raised in an exception that tells its kind, and nothing of its message."""
    try:
        return _failure(error, job)
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # whatever the error's own code does: the job must end
        document = problem("failed", reference=new_reference())
        return Failure(f"{type(error).__name__}, reference {document['reference']}", error, document)


def _failure(error: BaseException, job: Job | None) -> Failure:
    document = from_exception(error)
    kind = type(error).__name__
    if isinstance(error, NotKept | NotInJob):
        # The only texts that are told: they name what is wrong, and no value.
        kind = f"{kind}: {error}"
    if isinstance(error, AttemptLost):
        return Ending(kind, error, document)
    if is_unexpected(document):
        return Failure(
            f"{kind} in {place_in_words(error)}, reference {document['reference']}", error, document
        )
    if isinstance(error, RESULT_ERRORS):
        # A fault of the task or the view, which the client cannot correct.
        where = [f"of {job.operation}" if job else "", f"in {place_of(error) or work_of(job)}"]
        return Failure(f"{kind} {' '.join(filter(None, where))}, {document['code']}", error, document)
    return Ending(f"{kind}, {document['code']}", error, document)


def explain_transaction(error: BaseException, hidden: bool) -> None:
    """Add a note to *error* if the transaction of the work has caused it: the reason, and the two ways out.

    Args:
        hidden: the work does not see its transaction (``db.autocommit``), which has a note of its own.
    """
    is_not_durable = isinstance(error, RuntimeError) and str(error).startswith(NOT_DURABLE)
    if not hidden and (is_not_durable or isinstance(error, TransactionManagementError)):
        error.add_note(BROKEN_TRANSACTION)
