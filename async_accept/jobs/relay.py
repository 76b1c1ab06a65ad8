"""The relay: acts on every open job whose time has come.

Due jobs are published again, with growing steps; jobs whose lease ran out are given back or end as lost;
results and rows that were kept for long enough go. It runs inside every worker and, if wanted, alone; any number of
relays may run side by side.
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
from . import uploads
from .broker import Broker
from .keys import forget_expired
from .publish import publish, queue_of
from .retention import sweep

__all__ = ["Relay", "step", "stir"]

logger = logging.getLogger(__name__)

#: Nobody waits for the relay, so it gives the broker more time than a request does.
BROKER_SECONDS = 2.0
#: How many full batches are rung in one tick, before leases are looked at again.
BATCHES = 10
#: How many waiting jobs are looked at for lost messages in one tick.
WATCHED = 2000
#: How often the uploads are looked through for what no job knows.
TIDY_SECONDS = 3600.0
#: The shortest rest between two ticks, however much there is to do.
SHORTEST_REST = timedelta(seconds=0.25)
#: Messages of a job that may have been lost without making it wait for longer.
LOSSES = 10


#: Goes on while the machine sleeps: on Linux the one, on macOS the other.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def steady() -> float:
    """Return the seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def step(dispatches: int) -> timedelta:
    """Return how long to wait for a claim after the given number of earlier rings."""
    growing: timedelta = conf.DISPATCH_STEP * 2 ** min(dispatches, 20)
    longest: timedelta = conf.DISPATCH_STEP_MAX
    return min(growing, longest)


class Relay:
    """One relay of any number.

    Args:
        broker: the way to the broker.
        clock: gives seconds, also of a machine that sleeps; replaced in tests.
    """

    def __init__(self, broker: Broker | None = None, clock: Callable[[], float] = steady) -> None:
        self.broker = broker or Broker(BROKER_SECONDS)
        self.clock = clock
        self.stopping = threading.Event()
        #: There is something new to look at.
        self.stirred = threading.Event()
        self.tidy_at = clock() + TIDY_SECONDS
        self._distrust()

    def tick(self) -> dict[str, int]:
        """Act once on everything that is due; return how many jobs were lost, rung and swept.

        Raises:
            django.db.Error: the database is away; leases are not believed for two heartbeats after it is back.
        """
        try:
            done = {"lost": self.take_lost(), "rung": self.ring_due(), "swept": sweep(conf.RELAY_BATCH)}
            self.tidy_up()
        except Error:
            self._distrust()
            raise
        self.ended_at = self.clock()
        return done

    # --- Leases -------------------------------------------------------------------------------------

    def take_lost(self) -> int:
        """Take jobs from workers that stopped prolonging their leases; return how many."""
        ids = list(
            Job.objects.lease_lost().order_by("lease_until").values_list("pk", flat=True)[: conf.RELAY_BATCH]
        )
        if not self._trusts() or not ids:
            return 0
        return self._take_readable(ids)

    def _take_readable(self, ids: list[UUID]) -> int:
        """Take these jobs; one whose row cannot be read is logged, and holds up no other."""
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
            # The history is needed to give a job back.
            lost = Job.objects.filter(still, pk__in=ids).defer("input", "request", "log").unlocked()
            taken = [job for job in lost if job.lose("lease", fence=still)]
        for job in taken:
            logger.warning("Job %s was lost by %s", job.pk, job.worker, extra={"job_id": str(job.pk)})
        return len(taken)

    @property
    def patience(self) -> float:
        """Return for how many seconds leases will not be believed yet; right after a tick."""
        return max(self.trust_at - self.clock(), 0.0)

    def _trusts(self) -> bool:
        """Tell, right after an answer of the database, whether a lease that ran out means a dead worker.

        After an outage, or after a pause of the database or the relay, every healthy worker looks dead until its next
        heartbeat; and one of those may have just begun to wait for a connection.
        """
        now = self.clock()
        # A gap of a third of a lease takes no lease from anybody: they are prolonged every third.
        harmless: timedelta = conf.RELAY_INTERVAL + conf.LEASE / 3
        if now - self.ended_at > harmless.total_seconds():
            self.trust_at = now + 2 * float(conf.HEARTBEAT.total_seconds()) + _connect_timeout()
        return now >= self.trust_at

    def _distrust(self) -> None:
        self.ended_at = float("-inf")
        self.trust_at = float("inf")

    # --- Doorbells ----------------------------------------------------------------------------------

    def ring_due(self) -> int:
        """Publish due jobs again, and those whose messages were lost; return how many the broker took."""
        total = 0
        self.find_lost_messages()
        for _ in range(BATCHES):
            if self.broker.paused or not Job.objects.due().exists():
                break
            due = self._put_off()
            try:
                rung = len(publish([(pk, task) for pk, task, _ in due], self.broker))
            except BrokerUnavailable as error:
                logger.warning("The relay could not reach the broker: %s", error)
                rung = 0
            self._take_back(due[rung:])
            total += rung
            if rung < conf.RELAY_BATCH:
                break
        return total

    def find_lost_messages(self) -> int:
        """Make jobs due whose messages are gone: they were rung for, and nothing waits in their queue.

        The steps grow for the sake of long queues. A broker that lost its queue must not make a job wait until
        its step is over.
        """
        if self.broker.paused:
            return 0
        quiet = list(_rung_long_ago().order_by("dispatch_at").values_list("pk", "task")[:WATCHED])
        by_queue: dict[str | None, list[UUID]] = defaultdict(list)
        for pk, name in quiet:
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
                    _rung_long_ago()
                    .filter(pk__in=ids[: conf.RELAY_BATCH])
                    .unlocked()
                    .values_list("pk", flat=True)
                )
                found += Job.objects.filter(pk__in=gone, state=State.ACCEPTED).update(
                    dispatch_at=from_now(timedelta())
                )
        return found

    def _put_off(self) -> list[tuple[UUID, str, int]]:
        """Move the due jobs on before they are published, so that no two relays ring for the same ones."""
        using = database()
        with transaction.atomic(using=using):
            rows = Job.objects.due().order_by("dispatch_at").unlocked()
            due = list(rows.values_list("pk", "task", "dispatches")[: conf.RELAY_BATCH])
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
        """Remove, now and then, keys that are too old, and uploads that no job knows.

        A process that died in its request left those.
        """
        if self.clock() >= self.tidy_at:
            self.tidy_at = self.clock() + TIDY_SECONDS
            forget_expired()
            try:
                uploads.remove_orphans()
            except OSError as error:
                logger.warning("The relay could not look through the uploads: %s", type(error).__name__)

    # --- Running ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Tick until ``stop()`` is called; errors are logged and the next tick comes."""
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
                # Not the message: what failed here may have met anybody's data.
                logger.error("The relay failed and goes on: %s", type(error).__name__)
            if self.stirred.wait(rest.total_seconds()):
                self.stirred.clear()
                self.stopping.wait(SHORTEST_REST.total_seconds())
            if self.stopping.is_set():
                break
        connection.close()
        self.broker.close()

    def stop(self) -> None:
        self.stopping.set()
        self.stirred.set()

    def _rest(self) -> timedelta:
        """Return how long to wait for the next tick: until the next retry is due, the interval at most."""
        interval: timedelta = conf.RELAY_INTERVAL
        if self.broker.paused:
            return interval
        retries = Job.objects.filter(state=State.ACCEPTED, attempt__gt=0, dispatches=0)
        soonest = retries.filter(dispatch_at__lte=from_now(interval)).aggregate(at=Min("dispatch_at"))["at"]
        left = interval if soonest is None else soonest - timezone.now()
        return min(max(left, SHORTEST_REST), interval)


#: The relays that run in this process.
_relays: WeakSet[Relay] = WeakSet()


def stir() -> None:
    """Let the relays of this process look soon: a job was given back."""
    for relay in list(_relays):
        relay.stirred.set()


def _move_on(ids: list[UUID], dispatches: int) -> int:
    """Note one more ring; return for how many jobs, which nobody else has rung for meanwhile."""
    return Job.objects.filter(pk__in=ids, state=State.ACCEPTED, dispatches=dispatches).update(
        dispatches=min(dispatches + 1, 30_000), dispatch_at=from_now(step(dispatches))
    )


def _connect_timeout() -> float:
    """Return for how many seconds a worker may wait for its connection, where the project bounds it."""
    options = connections[database()].settings_dict.get("OPTIONS", {})
    return float(options.get("connect_timeout") or 0)


def _rung_long_ago() -> JobQuerySet:
    """Jobs that wait for a longer step, although the shortest one has passed since their last ring.

    With no message in the queue the job may still be one that a worker has fetched in advance. Ringing for it again is
    harmless, and becomes rare after the first ``LOSSES`` times.
    """
    patience = Q()
    for dispatches in range(2, 24):
        # After that ring dispatch_at was set to step(dispatches - 1) from then.
        left = step(dispatches - 1) - step(max(dispatches - LOSSES, 0))
        count = Q(dispatches=dispatches) if dispatches < 23 else Q(dispatches__gte=dispatches)
        if left > timedelta():
            patience |= Q(count, dispatch_at__lte=from_now(left))
    return Job.objects.filter(patience, state=State.ACCEPTED, dispatch_at__gt=DatabaseNow())
