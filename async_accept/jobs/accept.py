"""Letting one more job in: caps, size, uploads, and what to do where an earlier job stands for this one.

Every check comes before the insert, and the unique keys decide at the insert. So a request that is refused leaves
nothing behind, and its key stays free.
"""

from functools import partial
from typing import NamedTuple

from django.db import connections, transaction
from django.db.models import QuerySet

from .. import encoding
from ..conf import conf
from ..db.errors import again_after_conflict
from ..exceptions import BrokerUnavailable, InputTooLarge, JobActive, TooManyJobs, Unavailable
from ..models import Job, database
from . import keys as idempotency
from . import publish, uploads

__all__ = ["Terms", "admit", "first_of", "readmit"]


class Terms(NamedTuple):
    """On which terms a view lets jobs in."""

    #: Caps on open jobs; None is no cap and costs no query.
    max_active: int | None = None
    max_active_per_owner: int | None = None
    #: The largest input in bytes of JSON; None for one that was let in before.
    max_bytes: int | None = None
    #: Store the job only if the broker answers.
    insist: bool = False
    #: The view has active keys, and a request joins the job that is active.
    joins: bool = False


def admit(job: Job, terms: Terms) -> Job:
    """Store *job*; return it, or the earlier job that this request repeats or joins.

    Raises:
        TooManyJobs: a cap on open jobs is reached (429).
        InputTooLarge: 413.
        Unencodable: the input has no strict JSON form.
        IdempotencyKeyReused: its key came with another payload (422).
        JobActive: such a job is active, and the view refuses a second one (409).
        Unavailable: the broker is down, and the view refuses then (503).
    """
    if _shares_key(job, terms) and (first := idempotency.joined(job)):
        return first
    try:
        _check_room(job, terms)
        return _store(job, terms)
    except (TooManyJobs, Unavailable):
        # Another job finds no room, or no broker; to follow an earlier one takes neither.
        earlier = publish.holder(job)
        stands = earlier and _join(earlier, job)
        if stands is None:
            raise
        return stands


def first_of(repeat: Job) -> Job | None:
    """Return the job of the first request with the idempotency key of *repeat*; None where the key is free.

    Raises:
        IdempotencyKeyReused: the payload differs (422).
    """
    earlier = publish.holder(repeat)
    if earlier is None:
        return idempotency.joined(repeat)
    idempotency.check_repeat(earlier, repeat)
    return earlier


def readmit(job: Job, **keys: str) -> Job:
    """Accept a new job with the input of *job*, which has ended, within the caps of the settings.

    Args:
        keys: the columns of the new job's idempotency key.

    Raises:
        InputGone: the input is no longer kept (410).
        TooManyJobs: a cap on open jobs is reached (429).
        JobActive: such a job is active, and a second one is refused (409).
    """
    joins = job.active_hash is not None and job.joins_active
    terms = Terms(conf.MAX_ACTIVE_PER_OPERATION, conf.MAX_ACTIVE_PER_OWNER, joins=joins)
    return publish.rerun(job, lambda again: admit(again, terms), **keys)


def _store(job: Job, terms: Terms) -> Job:
    with uploads.keep(job):
        size = encoding.size_bytes(encoding.dumps(job.input))
        if terms.max_bytes is not None and size > terms.max_bytes:
            raise InputTooLarge
        try:
            stored = _insert_or_join(job, terms)
        except BrokerUnavailable as error:
            raise Unavailable from error
    if stored is not job:
        uploads.discard(job)
    return stored


def _shares_key(job: Job, terms: Terms) -> bool:
    """Whether the idempotency key of *job* may come to stand for a job that has another one."""
    return terms.joins and job.idempotency_key is not None


def _insert_or_join(job: Job, terms: Terms) -> Job:
    insert = partial(publish.accept, job, insist=terms.insist)
    if _shares_key(job, terms):
        if terms.insist:
            publish.insist_on_broker()  # in no transaction
        insert = partial(again_after_conflict, partial(_insert_and_claim, job), database())
    for _ in range(publish.TRIES):
        stored = insert()
        stands = stored if stored is job else _join(stored, job)
        if stands is not None:
            return stands
    raise Unavailable


def _insert_and_claim(job: Job) -> Job:
    """Insert *job*, and take it back where its key has come to stand for another one; so one key gets one job.

    Returns:
        *job*, or the earlier one that holds a key of it.
    """
    using = database()
    # In somebody's transaction, a failed INSERT would leave a lock that the end of the other job waits for (InnoDB),
    # while this request waits for that job.
    earlier = publish.holder(job) if connections[using].in_atomic_block else None
    if earlier is not None:
        return earlier
    with transaction.atomic(using=using):
        stored = publish.accept(job)
        stands = idempotency.claim(job, job) if stored is job else stored
        if stands is not stored:
            transaction.set_rollback(True, using=using)
    return stands


def _join(earlier: Job, job: Job) -> Job | None:
    """Return the job that stands for *job*, of which *earlier* holds a key; None where it has ended meanwhile."""
    if job.idempotency_key is not None and earlier.idempotency_key == job.idempotency_key:
        idempotency.check_repeat(earlier, job)
        return earlier
    # Whoever joins must be able to follow: another's job is 404 for them, and so is one that they have deleted.
    mine = earlier.owner_id is not None and earlier.owner_id == job.owner_id and not earlier.forgotten
    if not (job.joins_active and mine):
        raise JobActive
    return earlier if job.idempotency_key is None else idempotency.join(earlier, job)


def _check_room(job: Job, terms: Terms) -> None:
    """Caps hold against floods, not to the last job: requests at the same moment do not see each other."""
    if terms.max_active_per_owner is not None and job.owner_id is not None:
        _check(Job.objects.active().filter(owner=job.owner_id), terms.max_active_per_owner)
    if terms.max_active is not None:
        _check(Job.objects.active().filter(operation=job.operation), terms.max_active)


def _check(open_jobs: QuerySet[Job], cap: int) -> None:
    # Bounded: it never counts further than the cap.
    if len(open_jobs.order_by().values_list("pk")[:cap]) >= cap:
        raise TooManyJobs
