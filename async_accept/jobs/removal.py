"""Removes stored files beside the relay: a storage may be slow, or hang, and must hold up nothing else."""

import logging
import threading
from collections.abc import Callable
from time import monotonic
from uuid import UUID

from django.db import connections

__all__ = ["Removal", "RemovalThread"]

logger = logging.getLogger(__name__)


class Removal:
    """Removes files in a thread that lives only for one piece of work.

    One piece of work at a time. A thread that makes no progress for ``HANGS`` seconds is given up, so that what hangs
    holds up nothing else; of those, a process keeps at most ``MOST``.

    Args:
        clock: gives seconds; replaced in tests.
    """

    HANGS = 60.0
    MOST = 3

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.threads: list[RemovalThread] = []
        self.stopping = threading.Event()

    @property
    def is_free(self) -> bool:
        """Whether there is room for further work."""
        self.threads = [thread for thread in self.threads if thread.is_alive()]
        return len(self.threads) < self.MOST and all(thread.given_up for thread in self.threads)

    def start(self, do: Callable[["RemovalThread"], object]) -> None:
        """Let a thread call *do* with itself: *do* calls ``goes_on()`` before each step."""
        thread = RemovalThread(do, self)
        self.threads.append(thread)
        thread.start()

    def hanging(self) -> list["RemovalThread"]:
        """Return the threads that hang, each of them once."""
        late = self.clock() - self.HANGS
        found = [each for each in self.threads if each.is_alive() and not each.given_up and each.seen < late]
        for thread in found:
            thread.given_up = True
        return found

    def wait(self, seconds: float) -> None:
        """Wait for what is being done, but no longer than *seconds*."""
        until = monotonic() + seconds
        for thread in list(self.threads):
            thread.join(max(until - monotonic(), 0))

    def stop(self) -> None:
        """Let what is being done end after its present step."""
        self.stopping.set()


class RemovalThread(threading.Thread):
    """One piece of work; it tells how far it is."""

    def __init__(self, do: Callable[["RemovalThread"], object], removal: Removal) -> None:
        super().__init__(name="async_accept storage", daemon=True)
        self.do = do
        self.removal = removal
        #: When the present step began.
        self.seen = removal.clock()
        #: What the present step is about: a job, if it is about one.
        self.job: UUID | None = None
        self.given_up = False

    def goes_on(self, job: UUID | None = None) -> bool:
        """Begin the next step, which is about *job*; False if the work is to end before it."""
        self.seen, self.job = self.removal.clock(), job
        return not (self.given_up or self.removal.stopping.is_set())

    def run(self) -> None:
        try:
            self.do(self)
        except Exception as error:
            # Not its message, which may hold anybody's data.
            logger.error("The relay could not remove stored files: %s", type(error).__name__)
        finally:
            connections.close_all()
