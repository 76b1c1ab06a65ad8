"""The database connections of a worker: kept from one task to the next, where ``CONN_MAX_AGE`` keeps them, if sound.

Celery closes all of them before and after each task, whatever that setting says, and to connect anew costs more than
most jobs. A kept connection may be dead. A job notices that by its claim, which is done again on a fresh connection;
for any other task, and any other database, ``CONN_HEALTH_CHECKS`` has to be on.
"""

from collections.abc import Callable
from typing import Any

from celery._state import get_current_task
from django.db import close_old_connections, connections

from ..models import database
from .interruption import mend_connections, watch_soft_limit
from .message import is_job

__all__ = ["keep_connections"]


def keep_connections(app: Any) -> None:
    """Let the workers of *app* keep connections as requests do; ``CELERY_DB_REUSE_MAX`` is Celery's own way."""
    for fixup in app._fixups:
        of_worker = getattr(fixup, "worker_fixup", None)
        if of_worker is not None:
            close_all = of_worker.close_database
            of_worker.close_database = _mending(close_all if of_worker.db_reuse_max else _keeping(close_all))


def _mending(close: Callable[..., None]) -> Callable[..., None]:
    """Celery calls it before and after each task, whosever that is."""

    def close_database(**kwargs: Any) -> None:
        watch_soft_limit()
        mend_connections()
        close(**kwargs)

    return close_database


def _keeping(close_all: Callable[..., None]) -> Callable[..., None]:
    def close_database(**kwargs: Any) -> None:
        if all(map(_may_be_kept, connections.all(initialized_only=True))):
            close_old_connections()
        else:
            close_all(**kwargs)

    return close_database


def _may_be_kept(connection: Any) -> bool:
    settings = connection.settings_dict
    if connection.connection is None or settings["CONN_MAX_AGE"] == 0:
        return connection.connection is None
    task: Any = get_current_task()
    is_checked_by_claim = connection.alias == database() and is_job(task and task.request)
    return is_checked_by_claim or bool(settings["CONN_HEALTH_CHECKS"])
