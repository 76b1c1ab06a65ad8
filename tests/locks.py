"""A transaction of somebody else, which holds its locks as long as a test wants it to."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet

#: How long a statement of the test's own may wait for a lock, so that a failure is no hang.
PATIENCE_SECONDS = 2


@contextmanager
def locked(*rows: QuerySet[Any]) -> Iterator[None]:
    """Inside the block, another transaction holds these rows (``SELECT … FOR UPDATE``)."""
    if not connection.features.has_select_for_update:
        pytest.skip(f"{connection.vendor} locks no rows")
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                for each in rows:
                    assert list(each.select_for_update())
                held.set()
                assert over.wait(20)
        finally:
            held.set()
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(hold)
        try:
            assert held.wait(20)
            yield
        finally:
            over.set()
            holding.result(20)


@contextmanager
def impatient() -> Iterator[None]:
    """Inside the block, this connection waits ``PATIENCE_SECONDS`` for a lock at most."""
    setting, usual = {
        "postgresql": (f"SET lock_timeout = '{PATIENCE_SECONDS}s'", "RESET lock_timeout"),
        "mysql": (
            f"SET innodb_lock_wait_timeout = {PATIENCE_SECONDS}",
            "SET innodb_lock_wait_timeout = DEFAULT",
        ),
    }.get(connection.vendor, ("SELECT 1", "SELECT 1"))
    connection.cursor().execute(setting)
    try:
        yield
    finally:
        connection.cursor().execute(usual)
