"""A step that can be called again and again, and which functions it calls."""

import cProfile
import pstats
from collections.abc import Callable
from typing import Any, NamedTuple

from .processes import ROOT

__all__ = ["Step", "answers", "profile_of"]

#: Takes what a call was given and what it returned.
Check = Callable[[Any, Any], bool]


class Step(NamedTuple):
    """A call, what prepares it, and whether it has done what it shall."""

    call: Callable[[Any], Any]
    succeeded: Check = lambda given, returned: True
    prepare: Callable[[], Any] = lambda: None

    def check(self, given: Any, returned: Any) -> None:
        """Raise SystemExit if the call has failed: nobody wants to know what that costs."""
        if not self.succeeded(given, returned):
            raise SystemExit(f"The step has failed: {returned!r}")

    def __call__(self) -> None:
        given = self.prepare()
        self.check(given, self.call(given))


def answers(status: int) -> Check:
    return lambda given, response: bool(response.status_code == status)


def profile_of(step: Step, calls: int) -> list[list[Any]]:
    """Return which functions a step calls, as rows of seconds with and without what they call, calls, and the name.

    One of them is the step as a whole; the rows are in no order.
    """
    step()
    profiler = cProfile.Profile()
    for _ in range(calls):
        given = step.prepare()
        step.check(given, profiler.runcall(step.call, given))
    stats: Any = pstats.Stats(profiler)
    return [
        [cumulative / calls, own / calls, number / calls, f"{_short(file)}:{function}"]
        for (file, _, function), (_, number, own, cumulative, _) in stats.stats.items()
    ]


def _short(file: str) -> str:
    return file.partition("site-packages/")[2] or file.removeprefix(f"{ROOT}/")
