"""The worker's main process reports the end of an attempt whose own process is gone."""

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from django.db import Error, connections

from ..conf import conf
from ..db.errors import again_after_outage
from ..jobs.relay import wake
from ..models import Job, database
from .message import job_of_message

__all__ = ["settle", "wait_for_reports"]

logger = logging.getLogger(__name__)

_reports: set[threading.Thread] = set()


def settle(request: Any, transition: Callable[[Job], object], *, fenced: bool = True) -> None:
    """Make *transition* of the job behind *request*, whose process cannot do it any more.

    In a thread: a database that hangs must not keep the worker from its broker.

    Args:
        fenced: only if the job is still held by the process that had this message.
    """
    process = (request.hostname, getattr(request, "worker_pid", None))
    if fenced and process[1] is None:
        return  # no process had begun
    thread = threading.Thread(
        target=_settle,
        args=(request.id, process if fenced else None, transition),
        name="async_accept report",
        daemon=True,
    )
    _reports.add(thread)
    thread.start()


def _settle(task_id: str, process: tuple[str, int] | None, transition: Callable[[Job], object]) -> None:
    def move() -> None:
        job = job_of_message(task_id)
        if job is not None and (process is None or (job.worker, job.worker_pid) == process):
            transition(job)
            wake()

    using = database()
    try:
        again_after_outage(move, using, monotonic() + conf.LEASE.total_seconds())
    except Error as error:
        logger.warning("Job %s is left to its lease: %s", task_id, type(error).__name__)
    finally:
        connections[using].close()
        _reports.discard(threading.current_thread())


def wait_for_reports(seconds: float) -> None:
    """Wait until what was reported is stored, but not for longer than *seconds* in all."""
    until = monotonic() + seconds
    for thread in list(_reports):
        thread.join(max(until - monotonic(), 0))
