"""Celery workers that the tests run in a thread of this process."""

from typing import Any

from celery.worker.loops import synloop

__all__ = ["quick_loop"]


def quick_loop(consumer: Any, connection: Any, *args: Any, **kwargs: Any) -> None:
    """Celery's plain loop, which sees within 50 ms, not two seconds, that the worker is to stop."""

    class Impatient:
        def drain_events(self, timeout: float) -> None:
            connection.drain_events(timeout=min(timeout, 0.05))

    synloop(consumer, Impatient(), *args, **kwargs)
