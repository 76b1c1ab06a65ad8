"""The relay: acts on every job whose time has come.

It publishes due jobs again, with growing steps. It takes jobs whose lease ran out from their workers: they are given
back, or end as lost. It removes results and rows that were kept for long enough. A relay runs inside every worker and,
if wanted, alone; any number of relays may run side by side, and one of them is on duty (``jobs/duty.py``).
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from weakref import WeakSet

from django.db import Error, connections
from django.db.models import Min

from ..conf import conf
from ..db.errors import is_away
from ..db.functions import from_now
from ..models import Job, database, database_now
from ..states import State
from . import files, uploads
from .broker import Broker
from .due import MOST, find_lost_messages, publish_due
from .duties import Once
from .duty import Duty
from .keys import forget_expired
from .lost import LostJobs, steady
from .removal import Removal
from .retention import put_off, remove_files, sweep

__all__ = ["DUTIES", "Relay", "wake"]

logger = logging.getLogger(__name__)

#: How long one step at the broker may take. No client waits for the relay, so it is longer than ``BROKER_TIMEOUT``.
BROKER_SECONDS = 2.0
#: How many results, rows and keys are removed at a time.
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
        self.broker = broker or Broker(BROKER_SECONDS, confirmed=True)
        self.clock = clock
        self.lost = LostJobs(clock)
        self.duty = Duty()
        self.stopping = threading.Event()
        #: There is something to do before the next tick is due.
        self.woken = threading.Event()
        #: This relay has to tick, whoever is on duty: it was woken, or a retry is soon due.
        self.called = False
        #: The last tick has published as much as one may.
        self.has_more = False
        self.keys_at = self.tidy_at = clock() + TIDY_SECONDS
        #: What was said to fail.
        self.said = Once()
        #: What acts on the storage, beside the relay.
        self.removal, self.orphans = Removal(clock), Removal(clock)

    def tick(self) -> dict[str, int]:
        """Act once on everything that is due; return how many jobs were lost, published and swept.

        Each duty stands alone: one that fails is logged once, and the others go on.

        Raises:
            django.db.Error: the database is away. After it is back, no job is taken for two heartbeats.
        """
        try:
            done = {"lost": self._do("take lost jobs", self.lost.take)}
            self._do("find lost messages", partial(find_lost_messages, self.broker))
            done["published"] = self._do("publish due jobs", partial(publish_due, self.broker))
            self.has_more = done["published"] >= MOST
            done["swept"] = self._do("remove old results and jobs", self.sweep)
            done |= {
                name: self._do(f"do its duty {name!r}", partial(duty, self.broker))
                for name, duty in DUTIES.items()
            }
            self.tidy_up()
        except Error:
            self.lost.distrust()
            raise
        self.lost.saw_database()
        return done

    def _do(self, duty: str, do: Callable[[], int | None]) -> int:
        """Do one duty; 0 if it fails, unless the database is away."""
        try:
            done = do()
        except Exception as error:
            if is_away(error, database()):
                raise
            if self.said.is_new(duty, error):
                # Not its message, which may hold anybody's data.
                logger.error("The relay cannot %s: %s", duty, type(error).__name__)
            return 0
        self.said.works(duty)
        return done or 0

    # --- Leftovers ----------------------------------------------------------------------------------

    def sweep(self) -> int:
        """Expire results and purge rows; files are removed beside the relay."""
        for hanging in self.removal.hanging():
            logger.error("The storage hangs since the files of job %s are removed.", hanging.job)
            if hanging.job is not None:
                put_off(hanging.job)
        if connections[database()].in_atomic_block:  # another connection would not see what is held
            return sweep(BATCH)
        return sweep(BATCH, self._remove_files)

    def _remove_files(self, jobs: Sequence[Job]) -> bool:
        is_free = self.removal.is_free
        if is_free:
            self.removal.start(lambda thread: remove_files(jobs, thread.goes_on))
        return is_free

    def tidy_up(self) -> None:
        """Remove, once in ``TIDY_SECONDS``, keys that are too old, and files that no job knows.

        A process that died in its request has left such uploads, and an attempt that was lost such results. If there
        are many keys, each tick goes on with them.
        """
        now = self.clock()
        if now >= self.keys_at and self._do("remove old keys", partial(forget_expired, BATCH)) < BATCH:
            self.keys_at = now + TIDY_SECONDS
        if now < self.tidy_at:
            return
        self.tidy_at = now + TIDY_SECONDS
        if connections[database()].in_atomic_block:
            self._remove_orphans()
        elif self.orphans.is_free:
            self.orphans.start(lambda thread: self._remove_orphans())
        else:
            logger.warning("The relay has looked through the storage for more than an hour.")

    def _remove_orphans(self) -> None:
        self._do("look through the uploads", uploads.remove_orphans)
        self._do("look through the results", files.remove_orphans)

    # --- Running ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Do its turns until ``stop()`` is called; an error is logged, and the next turn comes."""
        _relays.add(self)
        connection = connections[database()]
        while True:
            rest: timedelta = conf.RELAY_INTERVAL
            try:
                rest = self.turn()
            except Error as error:
                logger.warning("The relay could not reach the database: %s", type(error).__name__)
                connection.close()
            except Exception as error:
                # Not its message, which may hold anybody's data.
                logger.error("The relay failed and goes on: %s", type(error).__name__)
            if self.woken.wait(rest.total_seconds()):
                self.woken.clear()
                self.called = True
                self.stopping.wait(SHORTEST_REST.total_seconds())
            if self.stopping.is_set():
                break
        self._leave()
        connection.close()
        self.broker.close()

    def turn(self) -> timedelta:
        """Tick if this relay is on duty, or was called; return how long to rest."""
        # If it cannot tell, it ticks: two relays that do are better than none.
        if self._do("ask who is on duty", lambda: not self.duty.take()) and not self.called:
            return self.duty.rest
        self.tick()
        if self.broker.paused:
            self.duty.leave()  # others may reach it
        rest = self._rest()
        self.called = rest < conf.RELAY_INTERVAL
        return rest

    def stop(self) -> None:
        for removal in (self.removal, self.orphans):
            removal.stop()
        self.stopping.set()
        self.woken.set()

    def _leave(self) -> None:
        """Let another relay be on duty, if the database can be told."""
        with suppress(Error):
            self.duty.leave()

    def _rest(self) -> timedelta:
        """Return how long to wait for the next tick: until the next retry is due, but no longer than the interval."""
        interval: timedelta = conf.RELAY_INTERVAL
        if self.broker.paused:
            return interval
        if self.has_more:
            return SHORTEST_REST
        retries = Job.objects.filter(state=State.ACCEPTED, attempt__gt=0, dispatches=0)
        soonest = retries.filter(dispatch_at__lte=from_now(interval)).aggregate(at=Min("dispatch_at"))["at"]
        left = interval if soonest is None else soonest - database_now()
        return min(max(left, SHORTEST_REST), interval)


#: The relays that run in this process.
_relays: WeakSet[Relay] = WeakSet()


def wake() -> None:
    """Let the relays of this process tick soon: a job was given back."""
    for relay in list(_relays):
        relay.woken.set()
