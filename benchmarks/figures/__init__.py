"""The figures of ``python -m benchmarks.pairs``: each is a function that yields rows."""

from typing import NamedTuple

from ..steps import Steps

__all__ = ["Options", "Session"]


class Options(NamedTuple):
    rounds: int
    #: How long each side of a round of requests takes.
    seconds: float
    #: How many jobs each side of a round of work has.
    count: int
    #: Compare the baseline with itself: the spread is the noise.
    noise: bool


class Session(NamedTuple):
    """What the figures of one run share."""

    options: Options
    #: A process of each project, by its name.
    steps: dict[str, Steps]
