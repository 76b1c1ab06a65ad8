"""Exceptions that decide over an attempt, whatever the code around the work makes of them."""

from celery.exceptions import SoftTimeLimitExceeded, TaskPredicate

from ..db.errors import is_passing
from ..exceptions import AttemptLost, JobCanceled, NotKept, ViewFailed
from .attempt import Attempt

__all__ = ["hidden_by", "is_control"]


def is_control(error: BaseException) -> bool:
    """Tell whether *error* is not the project's to answer.

    These are a cancel, a lost attempt, a time limit, Celery's ``Retry``, ``Ignore`` and ``Reject``, an error of the
    database that passes, and what a replay lacks of its request.
    """
    kinds = (JobCanceled, AttemptLost, NotKept, SoftTimeLimitExceeded, TaskPredicate)
    return isinstance(error, kinds) or is_passing(error)


def hidden_by(answer: ViewFailed, attempt: Attempt) -> BaseException:
    """Return what was raised before somebody made an error response of it; else *answer* itself.

    A response with 4xx to an exception that is not of control is the view's answer, as it is in a request.
    """
    if attempt.stopped is not None:
        return attempt.stopped
    raised = attempt.raised
    if raised is not None and (answer.status >= 500 or is_control(raised)):
        return raised
    return answer
