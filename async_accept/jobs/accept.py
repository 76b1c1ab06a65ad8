"""Let one more job in: room, size, uploads, the INSERT, and the message after the commit.

Every check comes before the INSERT, and the unique keys decide at the INSERT. So a request that is refused leaves
nothing behind, and its key stays free.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from django.db import Error, connections, transaction

from .. import encoding, signals
from ..conf import conf
from ..db.compiled import insert, insert_if_free, is_heard
from ..db.errors import again_after_conflict, is_conflict
from ..db.transactions import after_commit
from ..exceptions import InputGone, InputTooLarge, TooManyJobs, Unavailable
from ..models import INTEGER_CEILING, Job, database, database_now, new_id
from ..steps import Step, take
from . import keys, publish, turns, uploads

__all__ = ["Terms", "accept", "active_columns", "rerun"]

#: How often a job is inserted. A try is lost if its key was held by a job that was gone when it was looked up, or the
#: database ended the transaction in favour of another. While jobs with one active key follow one another, nearly half
#: of all tries are lost, so five were too few.
TRIES = 20


class Terms(NamedTuple):
    """On which terms a job is let in."""

    #: How many jobs of the operation, and of the owner, may be active; None is no cap and costs no query.
    max_active: int | None = None
    max_active_per_owner: int | None = None
    #: The largest input in bytes of JSON; None: any.
    max_bytes: int | None = None
    #: Store the job only if the broker answers.
    needs_broker: bool = False
    #: A request with an idempotency key may join an active job.
    joins: bool = False
    #: How long the idempotency key is kept, also after the job is purged; None: as long as the setting says, and no
    #: longer than the job.
    key_lifetime: timedelta | None = None
    #: In an order, take the turn at once if nobody is before it; else after the commit, as many jobs of one transaction
    #: must.
    takes_turn: bool = True
    #: When the job is accepted; None: now. Of a batch, each has its own time, by its place and not by its INSERT.
    accepted_at: datetime | None = None

    @property
    def has_caps(self) -> bool:
        return self.max_active is not None or self.max_active_per_owner is not None

    def records_key(self, job: Job) -> bool:
        """Whether the key of *job* is kept in a row of its own (``JoinedKey``)."""
        return job.idempotency_key is not None and (self.joins or self.key_lifetime is not None)


#: No caps, and any size.
FREE = Terms()


def accept(job: Job, terms: Terms = FREE) -> Job:
    """Store *job* in the caller's own transaction, and publish it after the commit.

    Returns:
        *job*, or the earlier job that stands for this request.

    Raises:
        TooManyJobs: as many jobs are active as may be (429).
        InputTooLarge: 413.
        Unencodable: the input has no strict JSON form.
        IdempotencyKeyReused: the key came with another payload (422).
        JobActive: such a job is active, and a second one is refused (409).
        Unavailable: the broker is down, and the view refuses then; or the keys could not be had (503).
        JobPurged: the earlier job that stands for this request is gone; only with ``terms.key_lifetime``.
    """
    return take(Step.ACCEPT, job, partial(_accept, job, terms))


def _accept(job: Job, terms: Terms) -> Job:
    # An earlier request with this key may have joined an active job, or its job is purged. Then only JoinedKey knows
    # the key, no row of Job.
    if terms.records_key(job) and (earlier := keys.earlier_by_joined_key(job)) is not None:
        return earlier
    try:
        _check_room(job, terms)
        # Before the INSERT, not after it: a stored job may have been promised to a repeat already.
        if terms.needs_broker:
            publish.check_broker()
    except (TooManyJobs, Unavailable):
        # To follow an earlier job takes neither room nor a broker.
        followed = keys.earlier(job)
        if followed is None:
            raise
        return followed
    with uploads.keep(job), _encoded_input(job, terms.max_bytes):
        if terms.takes_turn:
            turns.line_up(job)
        stored = _insert(job, terms)
    # To look first for a key that is kept apart would cost as much.
    if job.idempotency_key is not None and not terms.records_key(job):
        after_commit(keys.note_seen, job.idempotency_key, using=database())
    if stored is not job:
        uploads.discard(job)
        return stored
    if signals.job_accepted.has_listeners(Job):
        after_commit(signals.job_accepted.send_robust, sender=Job, job=job, before=None, using=database())
    if turns.waits(job):
        after_commit(turns.call_next, job.order_key, using=database())
    else:
        after_commit(publish.publish_accepted, job, using=database())
    return job


def rerun(
    job: Job,
    terms: Terms | None = None,
    active: dict[str, Any] | None = None,
    checks: dict[str, Any] | None = None,
    **key_columns: str,
) -> Job:
    """Accept a new job with the input of one that has ended, for the same owner; final stays final.

    Args:
        terms: those of the view that accepted it; None: the caps of the settings.
        active: the columns of its active key; None: it takes that of the old job again.
        checks: what the view's ``@once`` checks have returned for this request; None: those of the old job stand.
        key_columns: the columns of its own idempotency key.

    Returns:
        The new job, or the earlier one that stands for this request.

    Raises:
        InputGone: the input, or an uploaded file of it, is no longer kept (410).
        AcceptRefused: see ``accept()``.
    """
    if not job.can_rerun:
        raise InputGone
    if active is None:
        active = active_columns(job.active_hash, joins=job.joins_active)
    again = Job(
        id=new_id(anonymous=job.anonymous),
        owner_id=job.owner_id,
        anonymous=job.anonymous,
        operation=job.operation,
        task=job.task,
        # An object that the job created is not the new job's: that one creates another.
        object_type_id=None if job.object_created else job.object_type_id,
        object_id=None if job.object_created else job.object_id,
        rerun_of=job.pk,
        input=job.input,
        request=job.request if checks is None else {**job.request, "checks": checks},
        message_options=job.message_options,
        max_attempts=job.max_attempts,
        retry_when_lost=job.retry_when_lost,
        retry_after=job.retry_after,
        order_key=job.order_key,
        sequence=job.sequence,
        **active,
        **key_columns,
    )
    if terms is None:
        terms = Terms(conf.MAX_ACTIVE_PER_OPERATION, conf.MAX_ACTIVE_PER_OWNER)
    terms = terms._replace(joins=again.active_hash is not None and again.joins_active)
    return again_after_conflict(partial(_accept_again, again, job, terms), database())


def _accept_again(again: Job, job: Job, terms: Terms) -> Job:
    with transaction.atomic(using=database()):
        stored = accept(again, terms)
        if stored is again:
            Job.objects.filter(pk=job.pk).update(rerun_as=again.pk, updated_at=database_now())
    return stored


def active_columns(hashed: str | None, *, joins: bool) -> dict[str, Any]:
    """Return the columns of an active key.

    Args:
        hashed: the hash of the key; None: there is none.
        joins: whether a second request gets the active job, or is refused.
    """
    return {"active_key": hashed, "active_hash": hashed, "joins_active": joins}


def _check_room(job: Job, terms: Terms) -> None:
    """Caps hold against floods, not to the last job: requests at the same moment do not see each other."""
    if terms.max_active_per_owner is not None and job.owner_id is not None:
        _check_cap(terms.max_active_per_owner, owner=job.owner_id)
    if terms.max_active is not None:
        _check_cap(terms.max_active, operation=job.operation)


def _check_cap(cap: int, **columns: Any) -> None:
    cap = min(cap, INTEGER_CEILING)  # a LIMIT has no more than 63 bits, and nobody has so many active jobs
    # Bounded: it never counts further than the cap.
    if len(Job.objects.active().filter(**columns).order_by().values_list("pk")[:cap]) >= cap:
        raise TooManyJobs


@contextmanager
def _encoded_input(job: Job, max_bytes: int | None) -> Iterator[None]:
    """Encode the input once, for its size and for the INSERT.

    If somebody listens to ``save()``, the INSERT encodes it again: listeners see, and may change, the value.

    Raises:
        InputTooLarge: it is larger than *max_bytes* (413).
        Unencodable: it has no strict JSON form.
    """
    value = job.input
    text = encoding.dumps(value)
    if max_bytes is not None and encoding.size_bytes(text) > max_bytes:
        raise InputTooLarge
    if is_heard(Job):
        yield
        return
    job.input = None if value is None else encoding.Encoded(text)
    try:
        yield
    finally:
        job.input = value


def _insert(job: Job, terms: Terms) -> Job:
    """Insert *job*; return it, or the earlier job that stands for this request.

    Raises:
        Unavailable: a key is held, time and again by a job that is gone when it is looked up (503).
    """
    in_transaction = connections[database()].in_atomic_block
    # InnoDB: a failed INSERT keeps its lock until the caller commits. The end of the active job would wait for that
    # lock, and joining for that end: a deadlock. So look first.
    if terms.records_key(job) and in_transaction and (earlier := keys.earlier(job)) is not None:
        return earlier
    for _ in range(TRIES):
        try:
            stored = _insert_once(job, terms)
            if stored is not None:
                return stored
        except Error as error:
            # In somebody's transaction a conflict took all that came before with it.
            if in_transaction or not is_conflict(error):
                raise
            # The other transaction has probably stored what this request is to follow. InnoDB: those who wait for one
            # key to be free get it at the same moment, and each of them is in the way of the others.
            if (earlier := keys.earlier(job)) is not None:
                return earlier
    raise Unavailable


def _insert_once(job: Job, terms: Terms) -> Job | None:
    """Insert *job*, or find the earlier one; None if a key was held and is free by now.

    The row that keeps the idempotency key apart from the job is written in the same transaction.
    """
    using = database()
    keyed = job.idempotency_key is not None or job.active_key is not None
    records_key = terms.records_key(job)
    # The INSERT itself needs no transaction.
    with transaction.atomic(using=using) if records_key else nullcontext():
        connections[using].ensure_connection()  # then the time is the database's
        now = database_now()
        job.created_at = job.updated_at = terms.accepted_at or now
        job.dispatch_at = now + turns.patience(job)
        if not keyed:
            insert(job, using)
            return job
        if insert_if_free(job, using):
            stored = keys.record(job, job, terms.key_lifetime) if records_key else job
            if stored is not job:
                transaction.set_rollback(True, using=using)
            return stored
    earlier = keys.earlier(job)
    if earlier is None and job.order_key is not None:
        job.active_key = None  # somebody has the turn: the next try waits for it
    return earlier
