"""Store the events of a verified request as jobs, each together with the id that tells its repeats.

What a receiver cannot read of an event is no error of the request: the worker reads it again, and the job fails.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import transaction
from django.http import HttpRequest

from .. import encoding
from ..conf import conf
from ..db.errors import again_after_conflict, is_passing
from ..exceptions import AcceptRefused, InputTooLarge, JobPurged
from ..jobs import events, keys
from ..jobs.accept import Terms, accept
from ..jobs.events import ReceivedEvent
from ..jobs.limits import replay_limits, task_limits
from ..jobs.operations import check_operation
from ..jobs.publish import message_options
from ..models import Job, database, database_now, new_id

if TYPE_CHECKING:
    from .base import Receiver

__all__ = ["Description", "describe", "read", "store"]

logger = logging.getLogger(__name__)

#: How many events one request may bring.
MAX_BATCH = 1_000
#: What fits into ``Job.sequence``.
LARGEST_SEQUENCE = 2**63 - 1


class Description(NamedTuple):
    """What a receiver reads of an event to store it."""

    #: The id that tells a repeat; None: the body does.
    id: str | None = None
    #: What the event is about, for events that are worked off in order.
    order: Any = None
    sequence: int | None = None


def store(receiver: "Receiver", request: HttpRequest, event: ReceivedEvent) -> list[Any]:
    """Store *event*, or the several that it brings, and return the ids of the jobs, those of repeats included.

    Raises:
        InputTooLarge: it brings too many (413).
        Unencodable: the URL has no strict JSON form, such as one with a NUL character.
    """
    terms = Terms(
        max_active=conf.MAX_ACTIVE_PER_OPERATION,
        needs_broker=conf.WHEN_BROKER_DOWN == "refuse",
        key_lifetime=receiver.keep_ids,
    )
    several = read(receiver.split, event)
    if several is None:
        return [_accepted(_job(receiver, request, event), terms)]
    if len(several) > MAX_BATCH:
        raise InputTooLarge
    jobs = [_job(receiver, request, each) for each in several]
    stored = again_after_conflict(partial(_store_all, jobs, terms._replace(takes_turn=False)), database())
    return [stored[job.pk] for job in jobs]


def read(hook: Callable[[ReceivedEvent], Any], event: ReceivedEvent) -> Any:
    """Return what *hook* reads of a verified event; None if it fails: the job will tell, not the sender.

    Raises:
        django.db.Error: it passes by itself (503): the sender tries again.
    """
    try:
        return hook(event)
    except AcceptRefused:
        raise
    except Exception as error:
        if is_passing(error):
            raise
        logger.warning("An event cannot be read: %s", type(error).__name__)
        event.unread = True
        return None


def describe(receiver: "Receiver", event: ReceivedEvent) -> Description:
    """Return what *receiver* reads of *event*.

    Raises:
        Exception: the event cannot be read. Then its job fails with that error.
    """
    id, order, sequence = _id(receiver, event), receiver.order_key(event), receiver.sequence(event)
    if sequence is not None and (type(sequence) is not int or abs(sequence) > LARGEST_SEQUENCE):
        raise ValueError("sequence() returns a whole number of 64 bits, or None.")
    encoding.dumps([encoding.with_keys(order)])  # refuses what cannot be hashed, which is one level deeper
    return Description(id, order, sequence)


def _id(receiver: "Receiver", event: ReceivedEvent) -> str | None:
    id = receiver.event_id(event)
    encoding.dumps(id)  # as above
    return None if id is None else str(id)


def _accepted(job: Job, terms: Terms) -> Any:
    """Store *job*, and return its id; that of the earlier one if it is a repeat."""
    try:
        return accept(job, terms).pk
    except JobPurged as purged:
        return purged.job_id


def _store_all(jobs: Sequence[Job], terms: Terms) -> dict[Any, Any]:
    """Store all of *jobs*, or none; return the ids that they have got, by their own.

    They are stored in the order of their keys, so that no two batches wait for each other.
    """
    with transaction.atomic(using=database()):
        now = database_now()
        at = {job.pk: now + timedelta(microseconds=place) for place, job in enumerate(jobs)}
        by_key = sorted(jobs, key=lambda job: job.idempotency_key or "")
        return {job.pk: _accepted(job, terms._replace(accepted_at=at[job.pk])) for job in by_key}


def _job(receiver: "Receiver", request: HttpRequest, event: ReceivedEvent) -> Job:
    """Build the job of *event*, without storing it."""
    # The id alone, if that can be read: else the repeat of an event that can be read by then would be another one.
    told = read(partial(describe, receiver), event) or Description(read(partial(_id, receiver), event))
    event.id = told.id or event.id
    task = receiver.accept_task
    check_operation(receiver.accept_operation, type(receiver).__name__)
    return Job(
        id=new_id(),
        operation=receiver.accept_operation,
        task=events.HANDLE if task is None else task.name,
        input={"event": event.stored()},
        request=events.capture(request, atomic=receiver.accept_atomic, unread=event.unread),
        message_options=message_options(
            queue=receiver.accept_queue,
            priority=receiver.accept_priority,
            time_limit=receiver.accept_time_limit,
            soft_time_limit=receiver.accept_soft_time_limit,
        ),
        order_key=None if told.order is None else _hash(receiver, event, "order", told.order),
        sequence=told.sequence,
        idempotency_key=_key(receiver, request, event, told.id),
        **_limits(receiver),
    )


def _limits(receiver: "Receiver") -> dict[str, Any]:
    if receiver.accept_task is not None:
        return task_limits(receiver.accept_task)
    again = receiver.accept_retry_when_lost
    return replay_limits(receiver.accept_atomic if again is None else again)


def _key(receiver: "Receiver", request: HttpRequest, event: ReceivedEvent, id: str | None) -> str | None:
    """Return what tells a repeat: a hash of the signed id, else of the body; None if nothing does."""
    if id:
        return _hash(receiver, event, "id", id)
    if receiver.same_body_is_repeat:
        same = receiver.scheme.identity(receiver.message(request, event.body))
        return _hash(receiver, event, "body", sha256(same).hexdigest())
    return None


def _hash(receiver: "Receiver", event: ReceivedEvent, kind: str, value: Any) -> str:
    """Return a hash of *value*. One route may serve several tenants, so its arguments are part of it."""
    scope = ["receiver", kind, receiver.accept_operation, event.path_kwargs]
    return keys.fingerprint([*scope, encoding.with_keys(value)])
