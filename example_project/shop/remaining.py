"""How long it still takes, for people."""

import time

__all__ = ["Remaining"]

# Before that, any estimate is a guess.
_FIRST_SECONDS = 1.0


class Remaining:
    """Estimates the rest from what is done.

    Args:
        clock: gives seconds, monotonic; replaced in tests.
    """

    def __init__(self, total: int, clock=time.monotonic) -> None:
        self.total, self.clock = total, clock
        self.began = clock()

    def words(self, done: int) -> str:
        """One sentence; empty while nobody knows."""
        passed = self.clock() - self.began
        if done <= 0 or passed < _FIRST_SECONDS:
            return ""
        seconds = passed / done * max(self.total - done, 0)
        if seconds < 10:
            return "A few seconds left."
        if seconds < 100:
            return f"About {round(seconds, -1):.0f} seconds left."
        return f"About {round(seconds / 60):.0f} minutes left."
