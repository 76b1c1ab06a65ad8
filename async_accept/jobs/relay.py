"""The relay: acts on every job whose time has come.

It publishes due jobs again, with growing steps. It takes jobs whose lease ran out from their workers: they are given
back, or end as lost. It removes results and rows that were kept for long enough. A relay runs inside every worker and,
if wanted, alone; any number of relays may run side by side.
"""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from weakref import WeakSet

from django.db import Error, connections
from django.db.models import Min
from django.utils import timezone

from ..conf import conf
from ..db.functions import from_now
from ..models import Job, database
from ..states import State
from . import files, uploads
from .broker import Broker
from .due import publish_due
from .keys import forget_expired
from .lost import LostJobs, steady
from .retention import sweep

__all__ = ["DUTIES", "Relay", "wake"]

logger = logging.getLogger(__name__)

#: How long one step at the broker may take. No client waits for the relay, so it is longer than ``BROKER_TIMEOUT``.
BROKER_SECONDS = 2.0
#: How many results and rows are removed at a time.
BATCH = 500
#: How often keys that are too old, and uploads that no job knows, are removed.
TIDY_SECONDS = 3600.0
#: The shortest pause between two ticks, however much there is to do.
SHORTEST_REST = timedelta(seconds=0.25)
#: Further duties of a tick, by name: another app adds its own in ``ready()``. Each gets the relay's broker and returns
#: how much it has done.
DUTIES: dict[str, Callable[[Broker], int]] = {}


class Relay:
    """One relay; any number of them may run.

    Args:
        broker: the way to the broker.
        clock: gives seconds, also of a machine that sleeps; replaced in tests.
    """

    def __init__(self, broker: Broker | None = None, clock: Callable[[], float] = steady) -> None:
        self.broker = broker or Broker(BROKER_SECONDS)
        self.clock = clock
        self.lost = LostJobs(clock)
        self.stopping = threading.Event()
        #: There is something to do before the next tick is due.
        self.woken = threading.Event()
        self.tidy_at = clock() + TIDY_SECONDS

    def tick(self) -> dict[str, int]:
        """Act once on everything that is due; return how many jobs were lost, published and swept.

        Raises:
            django.db.Error: the database is away. After it is back, no job is taken for two heartbeats.
        """
        try:
            done = {
                "lost": self.lost.take(),
                "published": publish_due(self.broker),
                "swept": sweep(BATCH),
            }
            done |= {name: duty(self.broker) for name, duty in DUTIES.items()}
            self.tidy_up()
        except Error:
            self.lost.distrust()
            raise
        self.lost.saw_database()
        return done

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
