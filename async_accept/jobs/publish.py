"""Storing a job, and ringing the broker for it after commit.

The row is the outbox. No row is written to say "published": the claim says it. A job that is accepted and past its
``dispatch_at`` is due, whether its message was never sent or was lost with the broker; the relay rings for it again.
The message carries the job's id and nothing else.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, cast
from uuid import UUID

from celery import current_app
from django.db import IntegrityError, connections, transaction
from django.utils import timezone
from kombu import Producer

from .. import signals
from ..conf import conf
from ..db.errors import again_after_conflict
from ..db.functions import from_now
from ..db.transactions import after_commit
from ..exceptions import BrokerUnavailable, InputGone, Unavailable
from ..models import ATTEMPTS_CEILING, Job, database, new_id
from .broker import Broker, broker
from .keys import release_expired

__all__ = ["HEADER", "accept", "holder", "insist_on_broker", "limits", "queue_of", "rerun", "ring"]

logger = logging.getLogger(__name__)

#: The message header that marks a message as a job's doorbell.
HEADER = "async_accept_job"
#: How many messages are sent together.
CHUNK = 100
#: How often a job is inserted, where each time its key was held, and its holder was gone when it was looked up.
TRIES = 5


def limits(task: Any) -> dict[str, Any]:
    """Return the columns that say how often *task* may be attempted.

    They are kept in the row, so that whoever finds a lost job can decide without knowing the task.
    """
    attempts = getattr(task, "max_attempts", None)
    if attempts is None:
        retries = task.max_retries
        attempts = ATTEMPTS_CEILING if retries is None else max(conf.MAX_ATTEMPTS, retries + 1)
    return {
        "max_attempts": min(attempts, ATTEMPTS_CEILING),
        "retry_when_lost": bool(getattr(task, "retry_when_lost", False)),
    }


def accept(job: Job, *, insist: bool = False) -> Job:
    """Store *job* in the caller's own transaction and ring the broker after commit.

    A repeated request is found by the INSERT failing on one of the unique keys, not by looking first.

    Args:
        insist: store the job only if the broker answers now. Asked before, not after: a job that was stored may have
            been promised to a repeat of the request already, and must not be taken back.

    Returns:
        *job*, or the earlier job that holds its idempotency key or its active key.

    Raises:
        BrokerUnavailable: *insist*, and the broker is down; nothing is left behind.
        Unavailable: its key is held, time and again by somebody who is gone when looked up (503).
    """
    using = database()
    if insist:
        insist_on_broker()
    earlier = _insert(job, using, connections[using].in_atomic_block)
    if earlier is not None:
        return earlier
    if signals.job_accepted.has_listeners(Job):
        after_commit(signals.job_accepted.send_robust, sender=Job, job=job, using=using)
    after_commit(_ring_quietly, job, using=using)
    return job


def insist_on_broker() -> None:
    """Raise BrokerUnavailable where the broker is down."""
    if not current_app.conf.task_always_eager:
        broker.check()


def _insert(job: Job, using: str, in_transaction: bool) -> Job | None:
    """Insert *job*; return the earlier job that holds one of its unique keys instead, if there is one."""
    keyed = job.idempotency_key is not None or job.active_key is not None
    for tries_left in range(TRIES - 1, -1, -1):
        # Only a failing INSERT inside somebody's transaction needs a savepoint.
        guard = transaction.atomic(using=using) if keyed and in_transaction else nullcontext()
        try:
            with guard:
                job.dispatch_at = from_now(conf.DISPATCH_STEP)  # by the database's clock
                again_after_conflict(partial(job.save, force_insert=True, using=using), using)
            job.dispatch_at = timezone.now() + conf.DISPATCH_STEP
            return None
        except IntegrityError as error:
            if not keyed:
                raise
            earlier = holder(job)
            if earlier is not None:
                return earlier
            # The one that held the key has ended or is gone, or its key was too old: try again.
            if not tries_left:
                raise Unavailable.because(error) from error
    return None


def rerun(job: Job, store: Callable[[Job], Job] = accept, **keys: str) -> Job:
    """Accept a new job with the input of one that has ended, for the same owner; final stays final.

    It takes the active key of the old one again.

    Args:
        store: stores the new job.
        keys: the columns of its idempotency key.

    Returns:
        the new job, or the earlier one that holds one of its keys.

    Raises:
        InputGone: the input, or an uploaded file of it, is no longer kept (410).
    """
    if not job.can_rerun:
        raise InputGone
    again = Job(
        id=new_id(anonymous=job.anonymous),
        owner_id=job.owner_id,
        anonymous=job.anonymous,
        operation=job.operation,
        task=job.task,
        object_type_id=None if job.object_created else job.object_type_id,
        object_id=None if job.object_created else job.object_id,
        rerun_of=job.pk,
        input=job.input,
        request=job.request,
        max_attempts=job.max_attempts,
        retry_when_lost=job.retry_when_lost,
        retry_after=job.retry_after,
        active_key=job.active_hash,
        active_hash=job.active_hash,
        joins_active=job.joins_active,
        **keys,
    )
    with transaction.atomic(using=database()):
        stored = store(again)
        if stored is again:
            Job.objects.filter(pk=job.pk).update(rerun_as=again.pk, updated_at=timezone.now())
    return stored


def holder(job: Job) -> Job | None:
    """Return the job that holds one of *job*'s unique keys; an idempotency key that is too old is released."""
    for name in ("idempotency_key", "active_key"):
        if key := getattr(job, name):
            earlier = Job.objects.filter(**{name: key}).first()
            if earlier is not None and not release_expired(earlier, job.idempotency_key):
                return earlier
    return None


def ring(jobs: Iterable[tuple[UUID, str]], via: Broker = broker) -> Sequence[UUID]:
    """Publish a message for each (job id, task name); return the ids that are done with, in order.

    A job that cannot be published for a reason of its own, such as a route to nowhere, is logged and passed over: it
    must not stand in the way of the others.

    Raises:
        BrokerUnavailable: it took none of them.
    """
    waiting = list(jobs)
    done: list[UUID] = []
    alone = 0
    while chunk := waiting[len(done) : len(done) + (1 if len(done) < alone else CHUNK)]:
        try:
            via.use(partial(_publish, chunk))
        except BrokerUnavailable:
            if not done:
                raise
            break
        except Exception as error:
            if len(chunk) > 1:
                alone = len(done) + len(chunk)  # one by one, to find out whose it is
                continue
            _pass_over(*chunk[0], error)
        done.extend(pk for pk, _ in chunk)
    return done


def _publish(jobs: Sequence[tuple[UUID, str]], producer: Producer) -> None:
    with _together(producer, len(jobs)):
        for pk, name in jobs:
            task: Any = current_app.tasks.get(name)  # None where only the workers know it
            options = {
                **send_options(task),
                "producer": producer,
                "retry": False,
                "add_to_parent": False,
                # Celery shall not store or subscribe to anything: the task's own backend does all of it.
                "ignore_result": True,
                "headers": {HEADER: 1},
            }
            current_app.send_task(name, task_id=str(pk), task_type=task, **options)


def _together(producer: Producer, size: int) -> AbstractContextManager[object]:
    """Send what is published inside in one round trip, where Kombu (5.7) and the broker can."""
    batch = getattr(producer, "batch", None)
    return nullcontext() if batch is None or size == 1 else cast(AbstractContextManager[object], batch())


def _pass_over(pk: UUID, name: str, error: Exception) -> None:
    kind = type(error).__name__
    logger.error("Job %s cannot be published for %s: %s", pk, name, kind, extra={"job_id": str(pk)})


def send_options(task: Any) -> dict[str, Any]:
    """Return how *task* is sent: as ``apply_async()`` would, but without the arguments, which wait in the row.

    A message never expires: the job does not either.
    """
    if task is None:
        return {}
    options = task._get_exec_options()
    return {key: value for key, value in options.items() if value is not None and key != "expires"}


def queue_of(name: str) -> str | None:
    """Return the name of the queue that the task's messages go to; None where its route names no queue."""
    try:
        route = current_app.amqp.router.route(send_options(current_app.tasks.get(name)), name)
    except Exception:  # routers are the project's own code
        return None
    queue = route.get("queue")
    return getattr(queue, "name", queue)


def _ring_quietly(job: Job) -> None:
    """Ring for a fresh job; where the broker fails, the relay does it later."""
    if current_app.conf.task_always_eager:
        run_here(job)
        return
    try:
        ring([(job.pk, job.task)])
    except BrokerUnavailable as error:
        logger.warning("The broker did not take job %s: %s", job.pk, error, extra={"job_id": str(job.pk)})


def run_here(job: Job) -> None:
    """Run one attempt of *job* in this process, without a broker (eager mode and tests)."""
    task: Any = current_app.tasks[job.task]
    task.apply(task_id=str(job.pk), headers={HEADER: 1}, throw=False)
