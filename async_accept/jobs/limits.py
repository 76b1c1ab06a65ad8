"""How often the work of a job may be attempted.

The row keeps it, so that the relay that finds a lost job can decide without knowing the work.
"""

from typing import Any

from ..conf import conf
from ..models import ATTEMPTS_CEILING

__all__ = ["replay_limits", "task_limits"]


def task_limits(task: Any) -> dict[str, Any]:
    """Return the columns that say how often *task* may be attempted."""
    attempts = getattr(task, "max_attempts", None)
    if attempts is None:
        retries = task.max_retries
        attempts = ATTEMPTS_CEILING if retries is None else max(conf.MAX_ATTEMPTS, retries + 1)
    return _limits(attempts, getattr(task, "retry_when_lost", False))


def replay_limits(retry_when_lost: bool) -> dict[str, Any]:
    """Return the same of work that is no task of the project's: a view that is replayed, or a handler of events."""
    return _limits(conf.MAX_ATTEMPTS, retry_when_lost)


def _limits(attempts: int, retry_when_lost: Any) -> dict[str, Any]:
    return {"max_attempts": min(attempts, ATTEMPTS_CEILING), "retry_when_lost": bool(retry_when_lost)}
