"""One attempt at a job in this process, and which attempt is the current one here."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from time import monotonic
from typing import Any

from django.db import Error, connections, transaction

from ..db.errors import is_conflict
from ..db.transactions import left_open
from ..exceptions import AttemptLost, JobCanceled
from ..models import Job, database
from .stages import Progress

__all__ = ["Attempt", "begin", "current_attempt", "end", "observed"]


class Attempt:
    """One attempt at a job: what was claimed, how far it is, and how it came to its end."""

    __slots__ = (
        "atomic",
        "before_end",
        "began",
        "callbacks",
        "canceling",
        "depth",
        "ended",
        "entered",
        "error",
        "hides_transaction",
        "inside",
        "job",
        "outer",
        "progress",
        "raised",
        "result",
        "returned",
        "rolled_back",
        "stopped",
        "taken",
        "transaction",
    )

    def __init__(self, job: Job) -> None:
        self.job = job
        self.began = monotonic()
        watch = _watch.get()
        self.progress = Progress(job.log, watch and partial(watch, self))
        #: The attempt inside which this one began (eager mode).
        self.outer: Attempt | None = None
        #: The task's body has begun.
        self.entered = False
        #: Somebody asked the job to stop.
        self.canceling = False
        #: The attempt was given up for lost; another one may hold the job.
        self.taken = False
        #: What ``checkpoint()`` has raised.
        self.stopped: AttemptLost | JobCanceled | None = None
        #: What a replayed view has raised, while REST framework or the project may still answer it.
        self.raised: Exception | None = None
        #: The attempt is over; its end is stored, unless the lease decides.
        self.ended = False
        #: What the task returned, encoded (``jobs.results.Result``).
        self.result: Any = None
        #: The exception that failed the job.
        self.error: BaseException | None = None
        #: Commits the work together with the end, if the work is *atomic*; else empty.
        self.transaction = ExitStack()
        self.atomic = False
        #: How many callbacks waited for the commit before that transaction began.
        self.callbacks = 0
        #: What the job's instance knew before its end was stored in that transaction.
        self.before_end: dict[str, Any] = {}
        #: The work sees nothing of that transaction (``db.autocommit``).
        self.hides_transaction = False
        #: The conflict for which InnoDB has rolled back all that the work had written; the work may have caught it.
        self.rolled_back: Error | None = None
        #: The work has returned something.
        self.returned = False
        #: How many transactions were open before the work began (tests, eager mode).
        self.depth = len(connections[database()].atomic_blocks)
        #: Whether any was open, on whatever connection.
        self.inside = bool(left_open())
        if watch is not None:
            watch(self)

    def checkpoint(self) -> None:
        """Raise AttemptLost or JobCanceled if the work is to stop."""
        if self.taken:
            self.stopped = AttemptLost("This attempt was given up for lost.")
        elif self.canceling:
            self.stopped = JobCanceled("The job was asked to stop.")
        else:
            return
        raise self.stopped

    def begin_transaction(self) -> None:
        """Begin the transaction that commits the work together with its end; a second time it does nothing.

        Raises:
            RuntimeError: the work has a transaction of its own open, which would end first.
        """
        if self.atomic:
            return
        using = database()
        if len(connections[using].atomic_blocks) != self.depth:
            raise RuntimeError("atomic_from_here() cannot begin inside another transaction of the work.")
        self.callbacks = len(connections[using].run_on_commit)
        self.transaction.push(self._undo_end)
        self.transaction.enter_context(transaction.atomic(using=using))
        if connections[using].vendor == "mysql":
            self.transaction.enter_context(connections[using].execute_wrapper(self._notice_rollback))
        self.atomic = True

    def _undo_end(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Let the job's instance forget an end that was rolled back, also if the commit itself has failed."""
        if error is not None:
            vars(self.job).update(self.before_end)

    def _notice_rollback(self, execute: Callable[..., Any], *statement: Any) -> Any:
        try:
            return execute(*statement)
        except Error as error:
            if is_conflict(error):
                self.rolled_back = error
            raise


_current: ContextVar[Attempt | None] = ContextVar("async_accept_attempt", default=None)
#: Return the attempt of this context; None outside a job. The variable's own method, because ``report()`` asks too.
current_attempt: Callable[[], Attempt | None] = _current.get


def begin(attempt: Attempt, *, inside: bool = False) -> None:
    """Make *attempt* the current one; with *inside*, until its end, when the present one goes on."""
    attempt.outer = current_attempt() if inside else None
    _current.set(attempt)


def end(attempt: Attempt) -> None:
    """Make the attempt current inside which *attempt* began, or none."""
    _current.set(attempt.outer)


# --- For tests ------------------------------------------------------------------------------------------------

_watch: ContextVar[Callable[[Attempt], object] | None] = ContextVar("async_accept_watch", default=None)


@contextmanager
def observed(watch: Callable[[Attempt], object]) -> Iterator[None]:
    """Call *watch* with every attempt that begins inside the block, and again after each change of its progress.

    Whoever watches outside the block goes on watching.
    """
    outer = _watch.get()

    def both(attempt: Attempt) -> None:
        if outer is not None:
            outer(attempt)
        watch(attempt)

    token = _watch.set(both)
    try:
        yield
    finally:
        _watch.reset(token)
