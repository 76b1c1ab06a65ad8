"""Signals: what happened to a job. They are sent after the change is committed.

Every receiver gets ``sender`` (the ``Job`` class), ``job`` and ``before``, the state that the job has left. If a
receiver raises, that is logged, and neither the job nor another receiver is affected.
"""

from django.dispatch import Signal

__all__ = [
    "job_accepted",
    "job_canceled",
    "job_canceling",
    "job_failed",
    "job_given_back",
    "job_started",
    "job_succeeded",
]

#: A job was stored.
job_accepted = Signal()
#: A worker claimed a job for an attempt.
job_started = Signal()
#: An attempt ended without a result or a problem (a retry, or lost): the job waits for its next attempt.
job_given_back = Signal()
#: A running job was asked to stop. Sent again if it is asked again; ``before`` is ``canceling`` then.
job_canceling = Signal()
#: A job ended with a result.
job_succeeded = Signal()
#: A job ended with a problem, or because its worker was lost.
job_failed = Signal()
#: A job ended because somebody canceled it, or a later event came first (the problem ``superseded``).
job_canceled = Signal()

#: Internal: a job ended in whose ``order_key`` others may wait. Its receivers get ``order_key`` in place of ``job``.
turn_ended = Signal()

#: Internal: sent inside the transaction that ends a job. What a receiver writes commits with the job's final state, and
#: an exception of a receiver rolls both back. So it raises only what passes by itself: else the job would never end.
job_ending = Signal()
