"""How many streams a process holds: each has a seat, and nobody takes more than their share."""

from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from time import monotonic

from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from ..conf import conf
from ..exceptions import Unavailable
from ..jobs.forks import call_after_fork
from ..querysets import acting

__all__ = ["Seat", "Seats", "seats"]

#: After how many seconds a refused client should ask again; until then it polls.
WAIT_SECONDS = 5
#: For how many seconds a seat counts before its stream is read. If a client goes away while its stream is being opened,
#: the response may be lost on its way through the middleware, and is never closed.
UNREAD_SECONDS = 10


class Seats:
    """The seats of a process.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        self.lock = Lock()
        #: By caller; those without a seat are left out.
        self.taken: Counter[str] = Counter()
        self.total = 0
        #: The callers of seats that are left, until ``take()`` counts them. Garbage collection may leave a seat at any
        #: moment, also in a thread that holds the lock.
        self.left: deque[str] = deque()
        #: The seats whose streams were not read yet when that was asked last, and until when they count: oldest first.
        self.unread: deque[tuple[float, Seat]] = deque()

    def take(self, request: Request) -> "Seat":
        """Take a seat for the caller of *request*, a user or an address.

        It is lost if nobody begins to read within ``UNREAD_SECONDS``; from then on it must be left.

        Raises:
            Throttled: the caller has ``MAX_STREAMS_PER_CALLER`` seats (429).
            Unavailable: ``MAX_STREAMS`` seats are taken (503).
        """
        caller = _caller(request)
        with self.lock:
            self._count_left()
            if _is_full(self.taken[caller], conf.MAX_STREAMS_PER_CALLER):
                raise Throttled(WAIT_SECONDS, "You have too many event streams open.")
            if _is_full(self.total, conf.MAX_STREAMS):
                raise Unavailable("Too many event streams are open.")
            seat = Seat(self, caller)
            self.unread.append((self.clock() + UNREAD_SECONDS, seat))
            self.count(caller)
        return seat

    def count(self, caller: str) -> None:
        """Count one seat more; the lock is held."""
        self.taken[caller] += 1
        self.total += 1

    def _count_left(self) -> None:
        now = self.clock()
        while self.unread and self.unread[0][0] <= now:
            _, seat = self.unread.popleft()
            if not seat.is_read:
                seat.leave()
        while self.left:
            caller = self.left.popleft()
            self.total -= 1
            self.taken[caller] -= 1
            if not self.taken[caller]:
                del self.taken[caller]


class Seat:
    """A seat that is taken."""

    def __init__(self, seats: Seats, caller: str) -> None:
        self.is_read = False
        self._seats = seats
        self._left = seats.left  # after a fork it is another one, of a process without this stream
        self._caller = caller
        self._callers = [caller]

    def begin(self) -> None:
        """Keep the seat until it is left: somebody reads. If it was lost before, it is taken again, without a cap."""
        with self._seats.lock:
            self.is_read = True
            if not self._callers:
                self._callers.append(self._caller)
                self._seats.count(self._caller)

    def leave(self) -> None:
        """Give the seat back; to do so again is harmless."""
        with suppress(IndexError):
            self._left.append(self._callers.pop())


def _is_full(taken: int, cap: int | None) -> bool:
    return cap is not None and taken >= cap


def _caller(request: Request) -> str:
    pk = acting(request.user)
    return f"address {BaseThrottle().get_ident(request)}" if pk is None else f"user {pk}"


#: The seats of this process.
seats = Seats()
