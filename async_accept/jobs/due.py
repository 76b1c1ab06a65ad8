"""Due jobs: published again until a worker claims them, with growing steps."""

import logging
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from celery import current_app
from django.db import connections, transaction
from django.db.models import F, Q, TextField
from django.db.models.functions import Cast

from .. import encoding
from ..conf import conf
from ..db.functions import DatabaseNow, from_now
from ..exceptions import BrokerUnavailable
from ..models import Job, database
from ..querysets import JobQuerySet
from ..states import State
from .broker import Broker
from .publish import Waiting, publish, queue_of

__all__ = ["find_lost_messages", "publish_due", "step"]

logger = logging.getLogger(__name__)

#: How many jobs are published at a time.
BATCH = 500
#: How many full batches are published in one tick, before leases are looked at again.
BATCHES = 10
#: For how many waiting jobs one tick finds out whether their messages were lost.
WATCHED = 2000
#: The longest that a job waits before it is published again.
LONGEST_STEP = timedelta(hours=1)
#: After how many lost messages a job waits for longer.
LOSSES = 10
#: After how many times that a job was published it is told that nobody knows its task: some ten minutes.
UNCLAIMED = 6
#: The tasks of which that was told.
told: set[str] = set()
#: ``message_options`` as text: one row that holds what is no JSON must not stand in the way of the others.
OPTIONS = Cast("message_options", TextField())


def step(dispatches: int) -> timedelta:
    """Return how long a job waits for its claim before it is published again, after so many earlier *dispatches*."""
    growing: timedelta = conf.REPUBLISH_AFTER * 2 ** min(dispatches, 20)
    return min(growing, LONGEST_STEP)


def publish_due(broker: Broker) -> int:
    """Publish due jobs again; return how many the broker took."""
    total = 0
    for _ in range(BATCHES):
        if broker.paused or not Job.objects.due().exists():
            break
        due = _put_off()
        _tell_unknown(due)
        try:
            published = len(publish([job for job, _ in due], broker))
        except BrokerUnavailable as error:
            logger.warning("The relay could not reach the broker: %s", error)
            published = 0
        _take_back(due[published:])
        total += published
        if published < BATCH:
            break
    return total


def find_lost_messages(broker: Broker) -> int:
    """Make jobs due whose messages were lost: they were published, and their queue is empty.

    The steps grow because a queue may be long. If the broker has lost its queue, a job must not wait until its step
    is over.
    """
    if broker.paused:
        return 0
    rows = _published_long_ago().order_by("dispatch_at")
    waiting = list(rows.annotate(options=OPTIONS).values_list("pk", "task", "options")[:WATCHED])
    by_queue: dict[str | None, list[UUID]] = defaultdict(list)
    for pk, name, options in waiting:
        by_queue[queue_of(name, _decoded(options))].append(pk)
    found = 0
    for queue, ids in by_queue.items():
        try:
            if queue is None or broker.depth(queue) != 0:
                continue
        except BrokerUnavailable:
            break
        with transaction.atomic(using=database()):
            gone = list(
                _published_long_ago().filter(pk__in=ids[:BATCH]).unlocked().values_list("pk", flat=True)
            )
            found += Job.objects.filter(pk__in=gone, state=State.ACCEPTED).update(
                dispatch_at=from_now(timedelta())
            )
    return found


def _put_off() -> list[tuple[Waiting, int]]:
    """Move the due jobs to their next step before they are published, so that no other relay publishes them.

    Returns:
        the jobs, and how often they were published before.
    """
    using = database()
    with transaction.atomic(using=using):
        rows = Job.objects.due().order_by("dispatch_at").unlocked().annotate(options=OPTIONS)
        columns = rows.values_list("pk", "task", "options", "dispatches")[:BATCH]
        due = [
            (Waiting(pk, task, _decoded(options)), dispatches) for pk, task, options, dispatches in columns
        ]
        if connections[using].features.has_select_for_update:
            by_count: dict[int, list[UUID]] = defaultdict(list)
            for job, dispatches in due:
                by_count[dispatches].append(job.pk)
            for dispatches, ids in by_count.items():
                _move_on(ids, dispatches)
            return due
        return [(job, dispatches) for job, dispatches in due if _move_on([job.pk], dispatches)]


def _tell_unknown(due: Iterable[tuple[Waiting, int]]) -> None:
    """Name once each task that this process does not know, if its jobs were published often and nobody claimed them.

    They stay accepted: other workers may know the task, or will after the next deployment.
    """
    for job, dispatches in due:
        if dispatches >= UNCLAIMED and job.task not in current_app.tasks and job.task not in told:
            told.add(job.task)
            logger.error(
                "The task %s is not known here, and no worker claims its jobs, such as %s, published %d times.",
                *(job.task, job.pk, dispatches),
                extra={"job_id": str(job.pk)},
            )


def _decoded(options: str | None) -> Any:
    """Return how a job's messages are sent; None, as its task says, if the row holds what is no JSON.

    Then the worker cannot read the row either, and fails the job.
    """
    with suppress(ValueError):
        return None if options is None else encoding.loads(options)
    return None


def _take_back(due: list[tuple[Waiting, int]]) -> None:
    """Make jobs due again that the broker did not take."""
    if due:
        ids = [job.pk for job, _ in due]
        Job.objects.filter(pk__in=ids, state=State.ACCEPTED, dispatches__gt=0).update(
            dispatches=F("dispatches") - 1, dispatch_at=from_now(timedelta())
        )


def _move_on(ids: list[UUID], dispatches: int) -> int:
    """Count one more dispatch of these jobs; return of how many, because another relay may have been faster."""
    return Job.objects.filter(pk__in=ids, state=State.ACCEPTED, dispatches=dispatches).update(
        dispatches=min(dispatches + 1, 30_000), dispatch_at=from_now(step(dispatches))
    )


def _published_long_ago() -> JobQuerySet:
    """Jobs that wait for a longer step, although the shortest one has passed since they were last published.

    If the queue is empty, a worker may have fetched the message in advance. To publish such a job again is harmless,
    and becomes rare after the first ``LOSSES`` times.
    """
    patience = Q()
    for dispatches in range(2, 24):
        # When it was last published, dispatch_at was set to step(dispatches - 1) from then.
        left = step(dispatches - 1) - step(max(dispatches - LOSSES, 0))
        count = Q(dispatches=dispatches) if dispatches < 23 else Q(dispatches__gte=dispatches)
        if left > timedelta():
            patience |= Q(count, dispatch_at__lte=from_now(left))
    return Job.objects.filter(patience, state=State.ACCEPTED, dispatch_at__gt=DatabaseNow())
