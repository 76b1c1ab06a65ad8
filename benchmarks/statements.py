"""Count statements, BEGIN and COMMIT included, as Django's own log has them."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Yield a list that has the statements of the block when it is left."""
    from django.db import connection

    found: list[str] = []
    connection.ensure_connection()
    before, connection.force_debug_cursor = connection.force_debug_cursor, True
    connection.queries_log.clear()
    try:
        yield found
        found.extend(query["sql"] for query in connection.queries_log)
    finally:
        connection.force_debug_cursor = before


@contextmanager
def timed_statements() -> Iterator[list[float]]:
    """Yield a list that has the seconds of each statement of the block when it is left.

    They are timed here: Django's log has whole milliseconds. What it logs beside, BEGIN and COMMIT, counts 0 s.
    """
    from django.db import connection

    times: list[float] = []

    def timed(execute: Any, *args: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(*args)
        finally:
            times.append(time.perf_counter() - began)

    with recorded() as statements, connection.execute_wrapper(timed):
        yield times
    times.extend([0.0] * (len(statements) - len(times)))


def count_in_worker() -> None:
    """Write how many statements each task took into ``BENCH_COUNT_FILE``, one line a task, if that is set."""
    path = os.environ.get("BENCH_COUNT_FILE")
    if not path:
        return
    from celery import signals
    from django.db import connection

    def begin(**kwargs: Any) -> None:
        connection.force_debug_cursor = True

    def write(**kwargs: Any) -> None:
        with Path(path).open("a") as file:
            file.write(f"{len(connection.queries_log)}\n")
        connection.queries_log.clear()

    signals.worker_process_init.connect(begin, weak=False)
    # It is sent after the outcome is stored.
    signals.task_postrun.connect(write, weak=False)
