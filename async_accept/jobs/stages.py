"""The progress of one attempt: its stages, its message and the lines of its log.

The work changes it in memory. The heartbeat and the end of the attempt write the columns of ``snapshot()``.
"""

import math
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from ..encoding import text
from ..words import words

__all__ = ["Progress", "Stage"]

#: How many lines of ``log()`` are kept.
LOG_LINES = 200
#: A line of ``log()`` is cut to this length.
LINE_CHARS = 1_000
#: A message and the name of a stage are cut to this length: every poll carries them.
MESSAGE_CHARS = 500
#: Whole numbers between are finite also as floating point numbers, without a question.
EXACT = 2**53
#: No text is kept in memory beyond this length; what cannot be stored is taken out of it later.
CUT_CHARS = 2_000


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
        #: The part of one item of the outer stage that this stage fills (0 to 1).
        self.share = share
        self.base = base
        self.span = span
        #: None if the work said something that is no number.
        self.current: float | None = 0
        #: The part of the present item that inner stages have filled so far (0 to 1).
        self.filled = 0.0
        #: The loop ended early, by ``break`` or by an error. Its numbers stay on show until the work goes on.
        self.left = False

    @property
    def count(self) -> float | None:
        """How many items there are; None if nobody knows."""
        return self.total if self.total and self.total > 0 else None

    @property
    def slot(self) -> float:
        """The span of one item."""
        return self.span / max(self.count or 1, 1)

    @property
    def reached(self) -> float:
        """The part of the whole job that lies behind (0 to 1)."""
        items = (self.current or 0) if self.count else 0
        return self.base + self.span * min(max((items + self.filled) / (self.count or 1), 0.0), 1.0)

    def add(self, amount: float) -> None:
        """Say that *amount* more is done."""
        self.current = number((self.current or 0) + amount)
        self.filled = 0.0


class Progress:
    """How far one attempt is.

    Args:
        log: the log of earlier attempts; new lines are added to it.
        watch: called after each change; for tests.
    """

    __slots__ = ("announce", "fresh", "latest", "lines", "message", "stages", "watch", "written")

    def __init__(self, log: str = "", watch: Callable[[], object] | None = None) -> None:
        self.message = ""
        #: The stages at work, the outermost first. The first one is the whole job.
        self.stages = [Stage()]
        #: The stage that ended last: between two stages its numbers are shown.
        self.latest: Stage | None = None
        self.lines: deque[str] = deque(log.splitlines(), maxlen=LOG_LINES)
        #: The columns as the database has them.
        self.written: dict[str, Any] = {"log": log}
        #: A new outermost stage has begun, and is not written yet; ``announce`` is called as soon as it begins.
        self.fresh = False
        self.announce: Callable[[], object] | None = None
        self.watch = watch

    # --- Set by the work ----------------------------------------------------------------------------------

    def report(
        self, current: float | None, total: float | None, message: str | None, unit: str | None
    ) -> None:
        """Set what is not None."""
        if message is not None:
            self.message = _cut(message)
        if current is not None or total is not None or unit is not None:
            stage = self.stages[-1]
            if stage.left:
                stage = self.stage()
            if current is not None:
                stage.current = (
                    current if type(current) is int and -EXACT < current < EXACT else number(current)
                )
                stage.filled = 0.0
            if total is not None and total is not stage.total:  # mostly, each call says the same
                stage.total = number(total)
            if unit is not None:
                stage.unit = _cut(unit)
        if self.watch is not None:
            self.watch()

    def advance(self, amount: float, message: str | None) -> None:
        """Add *amount* to what is done."""
        self.stage().add(number(amount) or 0)
        if message is not None:
            self.message = _cut(message)
        if self.watch is not None:
            self.watch()

    def log(self, line: str) -> None:
        self.lines.append(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text(_cut(line), LINE_CHARS)}")

    def stage(self) -> Stage:
        """Return the stage at work. The work goes on, so the stages that it left early have ended."""
        while self.stages[-1].left:
            self._end(self.stages[-1])
        return self.stages[-1]

    def enter(self, label: str, total: float | None, unit: str, weight: float) -> Stage:
        """Begin a stage inside the one at work."""
        outer = self.stage()
        share = min(max(number(weight) or 0.0, 0.0), 1.0 - outer.filled)
        span = outer.slot * share
        stage = Stage(_cut(label), number(total), _cut(unit), share, base=outer.reached, span=span)
        if len(self.stages) == 1 and not self.fresh:
            self.fresh = True
            if self.announce is not None:
                self.announce()
        self.stages.append(stage)
        if self.watch is not None:
            self.watch()
        return stage

    def step(self, stage: Stage) -> None:
        """One more item of *stage* is done."""
        if self.stages[-1] is not stage and stage in self.stages:
            del self.stages[self.stages.index(stage) + 1 :]
        stage.current = (stage.current or 0) + 1  # as add(1), which leaves a finite number finite
        stage.filled = 0.0
        if self.watch is not None:
            self.watch()

    def leave(self, stage: Stage) -> None:
        """All items of *stage* are done."""
        if stage in self.stages:  # else an outer stage ended first
            self._end(stage)

    def _end(self, stage: Stage) -> None:
        del self.stages[self.stages.index(stage) :]
        self.latest = stage
        outer = self.stages[-1]
        outer.filled = min(outer.filled + stage.share, 1.0)

    # --- Read by the heartbeat and at the end ---------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the columns that show the progress, ready to be written."""
        stage = self.stages[-1]
        columns: dict[str, Any] = {}
        reached = stage.reached
        known = stage.count or reached
        if self.latest is not None and len(self.stages) == 1 and not (stage.count or stage.current):
            stage = self.latest
        if known or stage.current != 0 or self.message or stage.label:
            columns["progress"] = {
                "current": stage.current,
                "total": stage.total,
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


def _cut(value: Any) -> str:
    """Return *value* as text of bounded length.

    Called in the work's thread: the heartbeat must not run the ``__str__`` of a task's objects, or fail over it.
    """
    return words(value)[:CUT_CHARS]


def number(value: Any) -> float | None:
    """Return *value* as a finite number; None for what is none. Progress never fails a job.

    Called in the work's thread, for the same reason.
    """
    try:
        plain = value if type(value) in (int, float) else float(value)
        return plain if math.isfinite(plain) else None
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # whatever the object's own code does
        return None
