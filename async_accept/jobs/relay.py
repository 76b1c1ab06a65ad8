"""The relay: acts on every job whose time has come.

It publishes due jobs again, with growing steps. It takes jobs whose lease ran out from their workers: they are given
back, or end as lost. It removes results and rows that were kept for long enough. A relay runs inside every worker and,
if wanted, alone; any number of relays may run side by side.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID
from weakref import WeakSet

from django.db import Error, connections, transaction
from django.db.models import F, Min, Q
from django.utils import timezone

from ..conf import conf
from ..db.errors import is_outage
from ..db.functions import DatabaseNow, from_now
from ..exceptions import BrokerUnavailable
from ..models import Job, database
from ..querysets import JobQuerySet
from ..states import State
from . import files, uploads
from .broker import Broker
from .keys import forget_expired
from .publish import publish, queue_of
from .retention import sweep

__all__ = ["Relay", "step", "wake"]

logger = logging.getLogger(__name__)

#: How long one step at the broker may take. No client waits for the relay, so it is longer than ``BROKER_TIMEOUT``.
BROKER_SECONDS = 2.0
#: How many jobs are taken at a time.
BATCH = 500
#: How many full batches are published in one tick, before leases are looked at again.
BATCHES = 10
#: For how many waiting jobs one tick finds out whether their messages were lost.
WATCHED = 2000
#: How often keys that are too old, and uploads that no job knows, are removed.
TIDY_SECONDS = 3600.0
#: The longest that a job waits before it is published again.
LONGEST_STEP = timedelta(hours=1)
#: The shortest pause between two ticks, however much there is to do.
SHORTEST_REST = timedelta(seconds=0.25)
#: After how many lost messages a job waits for longer.
LOSSES = 10
#: A clock that goes on while the machine sleeps; on macOS it has the other name.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def steady() -> float:
    """Return the seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def step(dispatches: int) -> timedelta:
    """Return how long a job waits for its claim before it is published again, after so many earlier *dispatches*."""
    growing: timedelta = conf.REPUBLISH_AFTER * 2 ** min(dispatches, 20)
    return min(growing, LONGEST_STEP)


class Relay:
    """One relay; any number of them may run.

    Args:
        broker: the way to the broker.
        clock: gives seconds, also of a machine that sleeps; replaced in tests.
    """

    def __init__(self, broker: Broker | None = None, clock: Callable[[], float] = steady) -> None:
        self.broker = broker or Broker(BROKER_SECONDS)
        self.clock = clock
        self.stopping = threading.Event()
        #: There is something to do before the next tick is due.
        self.woken = threading.Event()
        self.tidy_at = clock() + TIDY_SECONDS
        self._distrust()

    def tick(self) -> dict[str, int]:
        """Act once on everything that is due; return how many jobs were lost, published and swept.

        Raises:
            django.db.Error: the database is away. After it is back, no job is taken for two heartbeats.
        """
        try:
            done = {
                "lost": self.take_lost(),
                "published": self.publish_due(),
                "swept": sweep(BATCH),
            }
            self.tidy_up()
        except Error:
            self._distrust()
            raise
        self.ended_at = self.clock()
        return done

    # --- Leases -------------------------------------------------------------------------------------

    def take_lost(self) -> int:
        """Take jobs from workers that no longer prolong their leases; return how many."""
        ids = list(Job.objects.lease_lost().order_by("lease_until").values_list("pk", flat=True)[:BATCH])
        if not self._trusts() or not ids:
            return 0
        return self._take_readable(ids)

    def _take_readable(self, ids: list[UUID]) -> int:
        """Take these jobs; one whose row cannot be read is logged and left, so that the others are taken."""
        try:
            return self._take(ids)
        except Exception as error:
            if is_outage(error):
                raise
            if len(ids) > 1:
                return sum(self._take_readable([pk]) for pk in ids)
            pk, kind = ids[0], type(error).__name__
            logger.error("Job %s cannot be taken from its worker: %s", pk, kind, extra={"job_id": str(pk)})
            return 0

    def _take(self, ids: list[UUID]) -> int:
        still = Q(lease_until__lt=DatabaseNow())  # a heartbeat may come in between
        with transaction.atomic(using=database()):
            # Not without the history, which grows by a line if the job is given back.
            lost = Job.objects.filter(still, pk__in=ids).defer("input", "request", "log").unlocked()
            taken = [job for job in lost if job.lose("lease", fence=still)]
        for job in taken:
            logger.warning("Job %s was lost by %s", job.pk, job.worker, extra={"job_id": str(job.pk)})
        return len(taken)

    @property
    def patience(self) -> float:
        """For how many seconds from a tick on no job is taken."""
        return max(self.trust_at - self.clock(), 0.0)

    def _trusts(self) -> bool:
        """Tell whether a lease that ran out means a dead worker; asked right after a query.

        After an outage, or after a pause of the database or the relay, every healthy worker looks dead until its next
        heartbeat. That one may have to wait for a connection first.
        """
        now = self.clock()
        # A gap of a third of a lease does no harm: each lease is prolonged after a third of it.
        harmless: timedelta = conf.RELAY_INTERVAL + conf.LEASE / 3
        if now - self.ended_at > harmless.total_seconds():
            self.trust_at = now + 2 * float(conf.HEARTBEAT.total_seconds()) + _connect_timeout()
        return now >= self.trust_at

    def _distrust(self) -> None:
        self.ended_at = float("-inf")
        self.trust_at = float("inf")

    # --- Messages -----------------------------------------------------------------------------------

    def publish_due(self) -> int:
        """Publish due jobs again, and those whose messages were lost; return how many the broker took."""
        total = 0
        self.find_lost_messages()
        for _ in range(BATCHES):
            if self.broker.paused or not Job.objects.due().exists():
                break
            due = self._put_off()
            try:
                published = len(publish([(pk, task) for pk, task, _ in due], self.broker))
            except BrokerUnavailable as error:
                logger.warning("The relay could not reach the broker: %s", error)
                published = 0
            self._take_back(due[published:])
            total += published
            if published < BATCH:
                break
        return total

    def find_lost_messages(self) -> int:
        """Make jobs due whose messages were lost: they were published, and their queue is empty.

        The steps grow because a queue may be long. If the broker has lost its queue, a job must not wait until its step
        is over.
        """
        if self.broker.paused:
            return 0
        waiting = list(_published_long_ago().order_by("dispatch_at").values_list("pk", "task")[:WATCHED])
        by_queue: dict[str | None, list[UUID]] = defaultdict(list)
        for pk, name in waiting:
            by_queue[queue_of(name)].append(pk)
        found = 0
        for queue, ids in by_queue.items():
            try:
                if queue is None or self.broker.depth(queue) != 0:
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

    def _put_off(self) -> list[tuple[UUID, str, int]]:
        """Move the due jobs to their next step before they are published, so that no other relay publishes them."""
        using = database()
        with transaction.atomic(using=using):
            rows = Job.objects.due().order_by("dispatch_at").unlocked()
            due = list(rows.values_list("pk", "task", "dispatches")[:BATCH])
            if connections[using].features.has_select_for_update:
                by_count: dict[int, list[UUID]] = defaultdict(list)
                for pk, _, dispatches in due:
                    by_count[dispatches].append(pk)
                for dispatches, ids in by_count.items():
                    _move_on(ids, dispatches)
                return due
            return [row for row in due if _move_on([row[0]], row[2])]

    def _take_back(self, due: list[tuple[UUID, str, int]]) -> None:
        """Make jobs due again that the broker did not take."""
        if due:
            ids = [pk for pk, *_ in due]
            Job.objects.filter(pk__in=ids, state=State.ACCEPTED, dispatches__gt=0).update(
                dispatches=F("dispatches") - 1, dispatch_at=from_now(timedelta())
            )

    # --- Leftovers ----------------------------------------------------------------------------------

    def tidy_up(self) -> None:
        """Remove, once in ``TIDY_SECONDS``, keys that are too old, and files that no job knows.

        A process that died in its request has left such uploads, and an attempt that was lost such results.
        """
        if self.clock() >= self.tidy_at:
            self.tidy_at = self.clock() + TIDY_SECONDS
            forget_expired()
            try:
                uploads.remove_orphans()
                files.remove_orphans()
            except OSError as error:
                logger.warning("The relay could not look through the uploads: %s", type(error).__name__)

    # --- Running ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Tick until ``stop()`` is called; an error is logged, and the next tick comes."""
        _relays.add(self)
        connection = connections[database()]
        while True:
            rest: timedelta = conf.RELAY_INTERVAL
            try:
                self.tick()
                rest = self._rest()
            except Error as error:
                logger.warning("The relay could not reach the database: %s", type(error).__name__)
                connection.close()
            except Exception as error:
                # Not its message, which may hold anybody's data.
                logger.error("The relay failed and goes on: %s", type(error).__name__)
            if self.woken.wait(rest.total_seconds()):
                self.woken.clear()
                self.stopping.wait(SHORTEST_REST.total_seconds())
            if self.stopping.is_set():
                break
        connection.close()
        self.broker.close()

    def stop(self) -> None:
        self.stopping.set()
        self.woken.set()

    def _rest(self) -> timedelta:
        """Return how long to wait for the next tick: until the next retry is due, but no longer than the interval."""
        interval: timedelta = conf.RELAY_INTERVAL
        if self.broker.paused:
            return interval
        retries = Job.objects.filter(state=State.ACCEPTED, attempt__gt=0, dispatches=0)
        soonest = retries.filter(dispatch_at__lte=from_now(interval)).aggregate(at=Min("dispatch_at"))["at"]
        left = interval if soonest is None else soonest - timezone.now()
        return min(max(left, SHORTEST_REST), interval)


#: The relays that run in this process.
_relays: WeakSet[Relay] = WeakSet()


def wake() -> None:
    """Let the relays of this process tick soon: a job was given back."""
    for relay in list(_relays):
        relay.woken.set()


def _move_on(ids: list[UUID], dispatches: int) -> int:
    """Count one more dispatch of these jobs; return of how many, because another relay may have been faster."""
    return Job.objects.filter(pk__in=ids, state=State.ACCEPTED, dispatches=dispatches).update(
        dispatches=min(dispatches + 1, 30_000), dispatch_at=from_now(step(dispatches))
    )


def _connect_timeout() -> float:
    """Return for how many seconds a worker may wait for its connection; 0 if the project sets no bound."""
    options = connections[database()].settings_dict.get("OPTIONS", {})
    return float(options.get("connect_timeout") or 0)


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
