"""What this process told a client a moment ago, so that "nothing new" (304) costs no query.

A poll that names the entity tag of a status document whose row was read less than one heartbeat ago would learn
nothing from the database that matters: progress is written once a heartbeat. So a 304 is never more than one
``HEARTBEAT`` behind what another process did, be it an end, a cancellation, or that the job is gone; and it is never
behind what this process has answered.
"""

from collections import OrderedDict
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from ..conf import conf
from ..models import Job
from ..querysets import acting

__all__ = ["Moment", "Poll", "Polls", "polls"]

#: How many jobs one process remembers.
SIZE = 4096


class Moment(NamedTuple):
    """When a row is about to be read."""

    #: How many changes this process had made by then to jobs that clients poll.
    changes: int
    #: Seconds of the clock.
    at: float


class Poll(NamedTuple):
    """A status document that was sent: its tag, its headers, who may see it, and when its row was read."""

    etag: str
    headers: dict[str, str]
    owner_id: Any
    anonymous: bool
    at: float

    def is_for(self, user: Any) -> bool:
        pk = acting(user)
        return self.anonymous or (pk is not None and pk == self.owner_id)


class Polls:
    """The latest status documents of this process.

    Args:
        clock: gives seconds, monotonic; replaced in tests.
    """

    def __init__(self, clock: Any = monotonic) -> None:
        self.clock = clock
        self.known: OrderedDict[tuple[UUID, str], Poll] = OrderedDict()
        self.lock = Lock()
        self.changes = 0

    def now(self) -> Moment:
        """Return this moment, for ``remember()``."""
        return Moment(self.changes, self.clock())

    def remember(self, job: Job, form: str, etag: str, headers: dict[str, str], since: Moment) -> None:
        """Keep what was sent, unless this process has changed a job since the row was read.

        Args:
            since: a moment from before the row was read, because it counts from there.
        """
        poll = Poll(etag, headers, job.owner_id, job.anonymous, since.at)
        with self.lock:
            if since.changes != self.changes:
                return
            self.known[job.pk, form] = poll
            self.known.move_to_end((job.pk, form))
            while len(self.known) > SIZE:
                self.known.popitem(last=False)

    def recall(self, pk: UUID, form: str, user: Any) -> Poll | None:
        """Return what *user* may know of the job and was read less than one heartbeat ago."""
        poll = self.known.get((pk, form))
        fresh = poll is not None and self.clock() - poll.at < conf.HEARTBEAT.total_seconds()
        return poll if poll is not None and fresh and poll.is_for(user) else None

    def forget(self, pk: UUID) -> None:
        """Drop what is known of a job, after the commit that changed it."""
        with self.lock:
            self.changes += 1
            for key in [key for key in self.known if key[0] == pk]:
                del self.known[key]


#: The process's memory.
polls = Polls()
