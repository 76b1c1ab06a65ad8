"""What keeps one bad row, or one failing duty of the relay, from holding up the others."""

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from uuid import UUID

from ..db.errors import again_after_conflict, is_away
from ..models import database

__all__ = ["Once", "act_on"]

#: For how many seconds one duty goes on to look for the rows that make it fail.
SECONDS = 2.0


def act_on(
    ids: Sequence[UUID],
    act: Callable[[Sequence[UUID]], int],
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = monotonic,
) -> tuple[int, dict[UUID, Exception]]:
    """Call *act* with all of *ids*; if that fails, with halves of them, until it is known which rows make it fail.

    A conflict is no fault of a row: then the same is tried again.

    Args:
        act: acts on these jobs in one transaction, and returns on how many.
        seconds: after this time the rest is left for the next time.

    Returns:
        On how many jobs it acted, and the error of each row that cannot be acted on.

    Raises:
        django.db.Error: the database is away.
    """
    until = clock() + seconds
    todo = [list(ids)] if ids else []
    done, failed = 0, dict[UUID, Exception]()
    while todo and (clock() < until or not (done or failed)):
        part = todo.pop()
        try:
            done += again_after_conflict(partial(act, part), database())
        except Exception as error:
            if is_away(error, database()):
                raise
            if len(part) == 1:
                failed[part[0]] = error
            else:
                middle = len(part) // 2
                todo += [part[middle:], part[:middle]]
    return done, failed


class Once:
    """Remembers what was said, so that a fault is logged once in each process, and not at each tick."""

    #: After so many it forgets them all: it must not grow for ever.
    MOST = 10_000

    def __init__(self) -> None:
        self.said: dict[object, str] = {}

    def is_new(self, what: object, error: BaseException) -> bool:
        """Tell whether it was not said yet that *what* fails by this kind of error."""
        kind = type(error).__name__
        if self.said.get(what) == kind:
            return False
        if len(self.said) >= self.MOST:
            self.said.clear()
        self.said[what] = kind
        return True

    def works(self, what: object) -> None:
        """Forget what was said of it, because it works again."""
        self.said.pop(what, None)
