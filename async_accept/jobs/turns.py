"""Jobs about one object run one at a time, in the order in which they were accepted.

They have the same ``order_key``. The unique column ``active_key`` says whose turn it is, so there is one at most. The
others wait: they are accepted, hold no ``active_key``, and no message is published for them. When a job ends, in
whatever way, the oldest one that waits gets the turn and is published. A job that waits is called again after the
commit of its own INSERT, because the turn may have ended in between. Both calls may be lost with their process: then
the relay publishes the job after ``LOOK_AGAIN``, and its claim calls the next one.
"""

from datetime import timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists

from .. import signals
from ..conf import conf
from ..db.errors import again_after_conflict
from ..db.functions import from_now
from ..exceptions import EventSuperseded
from ..models import Job, database
from ..querysets import JobQuerySet
from ..states import State
from . import publish

__all__ = ["LOOK_AGAIN", "call_next", "check_sequence", "line_up", "patience", "take", "waits"]

#: After this time a job looks whether it has missed its turn: the process that should have called it may have died.
LOOK_AGAIN = timedelta(minutes=5)
#: How often the next one is looked for; each time the one that was found was canceled in between.
TRIES = 5


def waits(job: Job) -> bool:
    """Whether *job* is one of an order, and has not got its turn."""
    return job.order_key is not None and job.active_key is None


def line_up(job: Job) -> None:
    """Let a new *job* take the turn if nobody is before it; else it waits. No query if it is in no order.

    Two may find nobody at the same moment: then the INSERT of one fails on ``active_key``, and it waits.
    """
    if job.order_key is not None:
        is_taken = Job.objects.active().filter(order_key=job.order_key).exists()
        job.active_key = None if is_taken else job.order_key


def patience(job: Job) -> timedelta:
    """Return after which time the relay publishes a new *job*."""
    later: timedelta = LOOK_AGAIN if waits(job) else conf.REPUBLISH_AFTER
    return later


def call_next(order_key: str) -> None:
    """Give the turn to the oldest job that waits for it, and publish that; nothing if another job has the turn."""
    job = _promoted(order_key)
    if job is not None:
        publish.publish_accepted(job)


def take(job: Job) -> bool:
    """Let *job*, which waits, take the turn before it is claimed; False if it is not its turn.

    If it is another one's that was not called, that one is published.
    """
    assert job.order_key is not None
    promoted = _promoted(job.order_key)
    if promoted is not None and promoted.pk == job.pk:
        job.active_key = job.order_key
        return True
    _waiting(job.order_key).filter(pk=job.pk).update(dispatch_at=from_now(LOOK_AGAIN), dispatches=0)
    if promoted is not None:
        publish.publish_accepted(promoted)
    return False


def check_sequence(job: Job) -> None:
    """Stop a job whose event is older than one of the same object that has been worked off.

    Raises:
        EventSuperseded: the job ends as ``canceled``.
    """
    if job.order_key is not None and job.sequence is not None:
        done = Job.objects.filter(order_key=job.order_key, state=State.SUCCEEDED)
        if done.filter(sequence__gt=job.sequence).exists():
            raise EventSuperseded("A later event of the same object has been worked off.")


def _waiting(order_key: str) -> JobQuerySet:
    return Job.objects.filter(order_key=order_key, state=State.ACCEPTED, active_key__isnull=True)


def _promoted(order_key: str) -> Job | None:
    """Do as ``_promote()`` does, again after a conflict: nobody else would call the job within ``LOOK_AGAIN``."""
    return again_after_conflict(partial(_promote, order_key), database())


def _promote(order_key: str) -> Job | None:
    """Give the turn to the oldest job that waits; None if nobody waits, or another job has the turn."""
    using = database()
    # The unique key decides. But an UPDATE that fails on it leaves a line in the log of PostgreSQL, so look first.
    is_free = ~Exists(Job.objects.filter(active_key=order_key))
    for _ in range(TRIES):
        job = _waiting(order_key).filter(is_free).light().order_by("created_at", "id").first()
        if job is None:
            return None
        mine = _waiting(order_key).filter(pk=job.pk)
        try:
            with transaction.atomic(using=using):
                got = mine.update(
                    active_key=order_key, dispatch_at=from_now(conf.REPUBLISH_AFTER), dispatches=0
                )
        except IntegrityError:
            return None  # who has the turn calls the next one at its end
        if got:
            return job
    return None


def _on_end(sender: Any, order_key: str, **kwargs: Any) -> None:
    call_next(order_key)


signals.turn_ended.connect(_on_end, dispatch_uid="async_accept.turns")
