"""One attempt at a job under way in this process, and which one runs here.

Everything about it is set in memory; the heartbeat and the outcome write what ``snapshot()`` shows.
"""

import contextvars
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any

from ..encoding import text
from ..exceptions import AttemptLost, JobCanceled
from ..models import Job

__all__ = ["Run", "begin", "current_run", "end", "observed", "observer", "running", "words"]

#: How many lines of ``log()`` are kept.
LOG_LINES = 200
#: A message and the name of a stage are cut to this length: every poll carries them.
MESSAGE_CHARS = 500


class Stage:
    """A span of the whole job (``base`` to ``base + span``, of 1.0) that is filled by ``current`` of ``total``."""

    __slots__ = ("base", "current", "filled", "label", "left", "share", "span", "total", "unit")

    def __init__(
        self,
        label: str = "",
        total: float | None = None,
        unit: str = "",
        share: float = 1.0,
        base: float = 0.0,
        span: float = 1.0,
    ) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        #: What it fills of one item of the stage around it.
        self.share = share
        self.base = base
        self.span = span
        self.current: float = 0
        #: Share of the present item that ended inner stages have filled.
        self.filled = 0.0
        #: The loop was left early, by ``break`` or by an error; what was reached stays on show until the work goes on.
        self.left = False

    @property
    def count(self) -> float | None:
        """How many items there are; None where nobody knows."""
        total = _number(self.total)
        return total if total and total > 0 else None

    @property
    def slot(self) -> float:
        """The span of one item."""
        return self.span / (self.count or 1)

    @property
    def reached(self) -> float:
        """How much of the whole job lies behind."""
        items = (_number(self.current) or 0) if self.count else 0
        return self.base + min(max(self.slot * (items + self.filled), 0.0), self.span)


#: Told of each run that begins in this context, and of each change of its progress; for tests.
_watch: contextvars.ContextVar[Callable[["Run"], object] | None] = contextvars.ContextVar(
    "async_accept_watch", default=None
)


class Run:
    """One attempt at a job under way in this process."""

    __slots__ = (
        "announce",
        "atomic",
        "began",
        "canceling",
        "depth",
        "ended",
        "entered",
        "error",
        "fresh",
        "job",
        "latest",
        "lines",
        "message",
        "outcome",
        "outer",
        "scope",
        "stages",
        "taken",
        "watch",
        "written",
    )

    def __init__(self, job: Job) -> None:
        self.job = job
        #: The run inside of which this one began (eager mode).
        self.outer: Run | None = None
        self.began = monotonic()
        #: Somebody asked the job to stop.
        self.canceling = False
        #: The attempt was given up for lost; another one may be running.
        self.taken = False
        #: The outcome is stored.
        self.ended = False
        #: The task's body has begun.
        self.entered = False
        #: What the task returned, encoded; stored by the backend.
        self.outcome: Any = None
        #: What the work leaves when it ends: the transaction that commits with its outcome, once that is *atomic*.
        self.scope = ExitStack()
        self.atomic = False
        #: In how many transactions the work began (tests, eager mode).
        self.depth = 0
        #: What ended it as failed.
        self.error: BaseException | None = None
        #: A new stage has begun that nobody has been shown yet; called as soon as it has.
        self.fresh = False
        self.announce: Callable[[], object] | None = None
        #: Told of each change of the progress; for tests.
        self.watch = _watch.get()
        self.message = ""
        self.stages = [Stage()]
        #: The stage that ended last, for a reader who comes after the work.
        self.latest: Stage | None = None
        #: The log goes on where an earlier attempt left it.
        self.lines: deque[str] = deque(job.log.splitlines(), maxlen=LOG_LINES)
        #: The snapshot that the database has.
        self.written: dict[str, Any] = {"log": job.log}
        self.tell()

    def tell(self) -> None:
        if self.watch is not None:
            self.watch(self)

    def checkpoint(self) -> None:
        if self.taken:
            raise AttemptLost("This attempt was given up for lost.")
        if self.canceling:
            raise JobCanceled("The job was asked to stop.")

    def stage(self) -> Stage:
        """Return the stage at work, now that the work goes on: those that were left early have come to their end."""
        while self.stages[-1].left:
            self._end(self.stages[-1])
        return self.stages[-1]

    def enter(self, label: str, total: float | None, unit: str, weight: float) -> Stage:
        outer = self.stage()
        share = min(max(_number(weight) or 0.0, 0.0), 1.0 - outer.filled)
        stage = Stage(words(label), total, words(unit), share, base=outer.reached, span=outer.slot * share)
        if len(self.stages) == 1 and not self.fresh:
            self.fresh = True
            if self.announce is not None:
                self.announce()
        self.stages.append(stage)
        self.tell()
        return stage

    def step(self, stage: Stage) -> None:
        """One more item of *stage* is done."""
        if self.stages[-1] is not stage and stage in self.stages:
            del self.stages[self.stages.index(stage) + 1 :]
        stage.current += 1
        stage.filled = 0.0
        self.tell()

    def leave(self, stage: Stage) -> None:
        if stage in self.stages:  # else an outer stage ended first
            self._end(stage)

    def _end(self, stage: Stage) -> None:
        del self.stages[self.stages.index(stage) :]
        self.latest = stage
        outer = self.stages[-1]
        outer.filled = min(outer.filled + stage.share, 1.0)

    def snapshot(self) -> dict[str, Any]:
        """Return the columns that show the progress, ready to be written."""
        # A task that returned has gone on from every loop that it left.
        stage = self.stages[-1] if self.outcome is None else self.stage()
        columns: dict[str, Any] = {}
        reached = stage.reached
        known = stage.count or reached
        if self.latest is not None and len(self.stages) == 1 and not (stage.count or stage.current):
            stage = self.latest  # between two stages, and at the end, its numbers are the news
        if known or stage.current or self.message or stage.label:
            columns["progress"] = {
                "current": _number(stage.current),
                "total": _number(stage.total),
                "unit": text(stage.unit, 50),
                "message": text(self.message, MESSAGE_CHARS),
                "percent": round(reached * 100, 1) if known else None,
                "stage": text(stage.label, MESSAGE_CHARS),
            }
        if self.lines:
            columns["log"] = "\n".join(self.lines)
        return columns

    def unwritten(self) -> dict[str, Any]:
        """Return the columns that changed since they were written."""
        return {name: value for name, value in self.snapshot().items() if self.written.get(name) != value}


#: The run of this context; None outside a job.
running: contextvars.ContextVar[Run | None] = contextvars.ContextVar("async_accept_run", default=None)


@contextmanager
def observed(watch: Callable[[Run], object]) -> Iterator[None]:
    """Tell *watch* of every run that begins inside the block, and of each change of its progress."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def observer() -> Callable[[Run], object] | None:
    """Return who is told of the runs of this context."""
    return _watch.get()


def current_run() -> Run | None:
    """Return the run of this context; None outside a job."""
    return running.get()


def begin(run: Run, *, inside: bool = False) -> None:
    """Let *run* be the one that runs here; *inside* of another one, which goes on afterwards."""
    run.outer = running.get() if inside else None
    running.set(run)


def end(run: Run) -> None:
    """Let nothing run here any more, or the run inside of which this one began."""
    running.set(run.outer)


def words(value: Any) -> str:
    """Return *value* as text, made here, where its own code may run: the heartbeat must not fail over it."""
    if type(value) is str:
        return value
    try:
        return str(value)
    except Exception:
        return type(value).__name__


def _number(value: Any) -> float | None:
    """Make *value* a finite number; None where it is none. Progress never fails a job."""
    try:
        plain = value if type(value) in (int, float) else float(value)
        return plain if math.isfinite(plain) else None
    except (TypeError, ValueError, OverflowError):
        return None
