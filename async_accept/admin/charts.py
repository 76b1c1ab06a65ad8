"""The geometry of charts. The template draws it as inline SVG, without a script and without style attributes."""

import math
from typing import Any, NamedTuple

from django.utils import formats

from ..db.clock import local
from ..states import State
from .formatting import LOOKS, number

__all__ = ["Bar", "Piece", "hourly_chart", "nice_top"]

#: In units of the drawing. On the screen it gets the width that there is; its labels are HTML beside it.
WIDTH, HEIGHT = 720, 200
#: The space between two bars, and above the highest.
GAP, TOP = 6, 2
#: Every third bar has its hour below it.
LABEL_EVERY = 3

#: The states in a bar, from the axis upwards: ended well, ended badly, active.
ORDER = (State.SUCCEEDED, State.CANCELED, State.FAILED, State.RUNNING, State.CANCELING, State.ACCEPTED)


class Piece(NamedTuple):
    """One state's part of a bar."""

    x: str
    y: str
    width: str
    height: str
    tone: str


class Bar(NamedTuple):
    """The bar of one hour."""

    label: str
    shows_label: bool
    title: str
    pieces: list[Piece]
    counts: list[int]
    total: int


def nice_top(largest: int) -> int:
    """Return the top of an axis: a round, even number not far above *largest*, at least 4."""
    if largest <= 4:
        return 4
    power: int = 10 ** int(math.log10(largest))
    return next(step * power for step in (1, 2, 3, 4, 6, 8, 10) if step * power >= largest)


def hourly_chart(hours: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the stacked bars, the axis and the legend for *hours*: dicts with ``hour`` and ``counts`` by state."""
    top = nice_top(max((sum(hour["counts"].values()) for hour in hours), default=0))
    slot = WIDTH / max(len(hours), 1)
    bars = [_bar(hour, index * slot, slot, top, index) for index, hour in enumerate(hours)]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "bars": bars,
        "lines": [_line(value, top) for value in (top, top // 2, 0)],
        "states": [{"label": state.label, "tone": LOOKS[state].tone} for state in ORDER],
        "total": sum(bar.total for bar in bars),
        "totals": [sum(bar.counts[i] for bar in bars) for i in range(len(ORDER))],
    }


def _bar(hour: dict[str, Any], x: float, slot: float, top: int, index: int) -> Bar:
    begins = local(hour["hour"])
    pieces, below = [], 0
    for state in ORDER:
        count = hour["counts"].get(str(state), 0)
        if count:
            height = _height(count, top)
            y = HEIGHT - _height(below + count, top)
            pieces.append(
                Piece(_n(x + GAP / 2), _n(y), _n(slot - GAP), _n(max(height, 1)), LOOKS[state].tone)
            )
            below += count
    label = formats.time_format(begins, "TIME_FORMAT" if begins.minute else "H:i")
    counts = [hour["counts"].get(str(state), 0) for state in ORDER]
    said = ", ".join(
        f"{state.label} {number(count)}" for state, count in zip(ORDER, counts, strict=True) if count
    )
    return Bar(
        label,
        index % LABEL_EVERY == 0,
        f"{label}: {said or 0}",
        pieces,
        counts,
        sum(counts),
    )


def _line(value: int, top: int) -> dict[str, str]:
    return {"y": _n(HEIGHT - _height(value, top)), "label": number(value)}


def _height(count: int, top: int) -> float:
    return (HEIGHT - TOP) * count / top


def _n(value: float) -> str:
    """Return a number as SVG needs it, in every language."""
    return f"{value:.1f}"
