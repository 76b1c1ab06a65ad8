"""Due jobs: published again until a worker claims them, with growing steps."""

import logging
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from celery import current_app
from django.db import transaction
from django.db.models import F, Q

from ..db.functions import DatabaseNow, from_now
from ..exceptions import BrokerUnavailable
from ..models import Job, database
from ..querysets import JobQuerySet
from ..states import State
from .broker import Broker
from .postponed import OPTIONS, decoded, put_off, step
from .publish import Waiting, publish, queue_of

__all__ = ["MOST", "find_lost_messages", "publish_due"]

logger = logging.getLogger(__name__)

#: How many jobs are published at a time.
BATCH = 500
#: How many full batches are published in one tick, before leases are looked at again.
BATCHES = 10
#: How many that are: if a tick has published so many, more may be due.
MOST = BATCH * BATCHES
#: For how many waiting jobs one tick finds out whether their messages were lost.
WATCHED = 2000
#: After how many lost messages a job waits for longer.
LOSSES = 10
#: After how many times that a job was published it is told that nobody knows its task: some ten minutes.
UNCLAIMED = 6
#: The tasks of which that was told.
told: set[str] = set()


def publish_due(broker: Broker) -> int:
    """Publish due jobs again; return how many the broker took."""
    total = 0
    for _ in range(BATCHES):
        due = [] if broker.paused else put_off(BATCH)
        if not due:
            break
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
        by_queue[queue_of(name, decoded(options))].append(pk)
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


def _tell_unknown(due: Iterable[tuple[Waiting, int]]) -> None:
    """Name once each task that this process does not know, if its jobs were published often and nobody claimed them.

    They stay accepted: other workers may know the task and be busy, or will know it after the next deployment.
    """
    for job, dispatches in due:
        if dispatches >= UNCLAIMED and job.task not in current_app.tasks and job.task not in told:
            told.add(job.task)
            logger.error(
                "The task %s is not known here, and a job of it, %s, was published %d times without being claimed. "
                "Does a worker know the task, and do the workers keep up?",
                *(job.task, job.pk, dispatches),
                extra={"job_id": str(job.pk)},
            )


def _take_back(due: list[tuple[Waiting, int]]) -> None:
    """Make jobs due again that the broker did not take."""
    if due:
        ids = [job.pk for job, _ in due]
        Job.objects.filter(pk__in=ids, state=State.ACCEPTED, dispatches__gt=0).update(
            dispatches=F("dispatches") - 1, dispatch_at=from_now(timedelta())
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
