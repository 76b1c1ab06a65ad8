"""The size of the pool of database connections (``OPTIONS["pool"]``), and how many a worker process needs.

A process needs one connection for each job that it runs at a time, one for the heartbeat, and one for the relay or the
report of a lost process. Without it the heartbeat waits, and healthy jobs are taken for lost.
"""

import os
from typing import Any

from celery import current_app
from django.db import connections

from ..models import database

__all__ = ["connections_needed", "largest_pool"]

#: For the heartbeat, and for the relay.
BESIDE_THE_JOBS = 2
#: Pools of workers that run several jobs in one process, by Celery's names and by their modules.
IN_ONE_PROCESS = ("thread", "gevent", "eventlet")


def largest_pool() -> int | None:
    """Return how many connections a process may have open to the jobs' database; None if there is no pool."""
    options: Any = connections[database()].settings_dict.get("OPTIONS", {}).get("pool")
    if not options:
        return None
    given = {} if options is True else options
    # The defaults of psycopg's pool: it does not grow.
    return int(given.get("max_size") or given.get("min_size", 4))


def connections_needed(kind: str | None = None, concurrency: int | None = None) -> int:
    """Return how many connections one worker process needs.

    Args:
        kind: the worker's pool, as Celery names it or its module; None: what the settings say.
        concurrency: how many jobs the worker runs at a time; None: what the settings say.
    """
    settings: Any = current_app.conf
    kind = kind or str(settings.worker_pool or "prefork")
    jobs = concurrency or settings.worker_concurrency or os.cpu_count() or 1
    return BESIDE_THE_JOBS + (int(jobs) if any(name in kind for name in IN_ONE_PROCESS) else 1)
