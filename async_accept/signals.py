"""What happened to a job, told after it is committed.

Every receiver gets ``sender`` (the ``Job`` class) and ``job``. A receiver's exception is logged and touches nothing.
"""

from django.dispatch import Signal

__all__ = [
    "job_accepted",
    "job_canceled",
    "job_failed",
    "job_given_back",
    "job_started",
    "job_succeeded",
]

#: A job was stored.
job_accepted = Signal()
#: A worker claimed a job for an attempt.
job_started = Signal()
#: An attempt ended without an outcome (retry, or lost): the job waits for its next one.
job_given_back = Signal()
#: A job ended with an answer.
job_succeeded = Signal()
#: A job ended with a problem, also when it was lost.
job_failed = Signal()
#: A job ended because it was asked to.
job_canceled = Signal()
