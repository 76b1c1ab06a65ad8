"""Estimate how long a job still takes."""

import time

__all__ = ["TimeLeft"]

# An earlier estimate would be too inexact.
_FIRST_SECONDS = 1.0


class TimeLeft:
    """Estimates from the time that the first part of the work has taken.

    Args:
        total: how many steps the work has.
        clock: returns seconds and never goes back. Tests replace it.
    """

    def __init__(self, total: int, clock=time.monotonic) -> None:
        self.total, self.clock = total, clock
        self.began = clock()

    def words(self, done: int) -> str:
        """Return a sentence about the time left after *done* steps, or "" if it is too early to know."""
        passed = self.clock() - self.began
        if done <= 0 or passed < _FIRST_SECONDS:
            return ""
        seconds = passed / done * max(self.total - done, 0)
        if seconds < 10:
            return "A few seconds left."
        if seconds < 100:
            return f"About {round(seconds, -1):.0f} seconds left."
        return f"About {round(seconds / 60):.0f} minutes left."
