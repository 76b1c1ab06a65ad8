"""What a worker's main process has to say about an attempt whose own process cannot speak any more."""

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from django.db import Error, connections

from ..conf import conf
from ..db.errors import again_after_outage
from ..jobs.relay import stir
from ..models import Job, database
from .request import find

__all__ = ["speak_for", "wait_for_reports"]

logger = logging.getLogger(__name__)

_reports: set[threading.Thread] = set()


def speak_for(request: Any, transition: Callable[[Job], object], *, fenced: bool = True) -> None:
    """Make *transition* for an attempt whose own process cannot speak any more.

    In a thread: a database that hangs must not keep the worker from its broker.
    """
    process = (request.hostname, getattr(request, "worker_pid", None))
    if fenced and process[1] is None:
        return  # nobody began
    thread = threading.Thread(
        target=_settle,
        args=(request.id, process if fenced else None, transition),
        name="async_accept report",
        daemon=True,
    )
    _reports.add(thread)
    thread.start()


def _settle(task_id: str, process: tuple[str, int] | None, transition: Callable[[Job], object]) -> None:
    def settle() -> None:
        job = find(task_id)
        # Another process may hold it by now.
        if job is not None and (process is None or (job.worker, job.worker_pid) == process):
            transition(job)
            stir()

    using = database()
    try:
        again_after_outage(settle, using, monotonic() + conf.LEASE.total_seconds())
    except Error as error:
        logger.warning("Job %s is left to its lease: %s", task_id, type(error).__name__)
    finally:
        connections[using].close()
        _reports.discard(threading.current_thread())


def wait_for_reports(seconds: float) -> None:
    """Wait until what was reported is stored, but not for longer than *seconds* in all."""
    deadline = monotonic() + seconds
    for thread in list(_reports):
        thread.join(max(deadline - monotonic(), 0))
