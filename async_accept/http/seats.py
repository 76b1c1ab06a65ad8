"""How many streams a process holds: each has a seat, and nobody takes more than their share."""

from collections import Counter, deque
from contextlib import suppress
from threading import Lock

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


class Seats:
    """The seats of a process."""

    def __init__(self) -> None:
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

    def take(self, request: Request) -> "Seat":
        """Take a seat for the caller of *request*, a user or an address; the seat must be left.

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
            self.taken[caller] += 1
            self.total += 1
        return Seat(self.left, caller)

    def _count_left(self) -> None:
        while self.left:
            caller = self.left.popleft()
            self.total -= 1
            self.taken[caller] -= 1
            if not self.taken[caller]:
                del self.taken[caller]


class Seat:
    """A seat that is taken."""

    def __init__(self, left: deque[str], caller: str) -> None:
        self._left = left
        self._callers = [caller]

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
