"""What a soft time limit, or a fault of the work, has left half done on the connections to the databases.

A soft time limit is a signal: it may come between any two steps, also in the middle of ``transaction.atomic()`` or of a
statement. Then Django believes in a transaction that nobody will end, or the driver waits for an answer that nobody
will read. What is stored on such a connection is lost, and so would be every later job of the process.
"""

import signal
import threading
from contextlib import suppress
from typing import Any

from billiard import pool
from django.db import connections
from django.db.transaction import TransactionManagementError

from ..db.transactions import left_open

__all__ = ["check_connections", "mend_connections", "watch_soft_limit"]

#: What is wrong with work that returns like that. After a soft time limit it is not the work's fault.
LEFT_OPEN = (
    "The work has begun a transaction on the connection %r, or turned its autocommit off, and has returned without "
    "ending that: what it has written there is not committed."
)

#: Whether the signal has come since the connections were mended last.
_interrupted = False


def watch_soft_limit() -> None:
    """Let this process note that a soft time limit has come. A pool without that signal has none to note."""
    number = getattr(pool, "SIG_SOFT_TIMEOUT", None)
    is_main = threading.current_thread() is threading.main_thread()  # only there a handler can be set
    if number is not None and is_main and signal.getsignal(number) is pool.soft_timeout_sighandler:
        signal.signal(number, _note)


def _note(number: int, frame: Any) -> None:
    global _interrupted
    _interrupted = True
    pool.soft_timeout_sighandler(number, frame)


def mend_connections() -> None:
    """Give up what was begun on any connection of this thread and not ended; a connection that is sound stays."""
    global _interrupted
    was, _interrupted = _interrupted, False
    for connection in connections.all(initialized_only=True) if was else left_open():
        if connection.connection is not None:
            _renew(connection)


def check_connections() -> None:
    """See that work which has returned has ended what it began.

    Raises:
        TransactionManagementError: it has not.
    """
    if not _interrupted and (found := left_open()):
        raise TransactionManagementError(LEFT_OPEN % found[0].alias)


def _renew(connection: Any) -> None:
    connection.in_atomic_block = connection.closed_in_transaction = False
    if connection.vendor == "sqlite":  # one in memory would be gone, and nobody has to be asked
        connection.rollback()
        connection.set_autocommit(connection.settings_dict["AUTOCOMMIT"])
        return
    with suppress(Exception):  # first: a pool takes none back that is in the middle of something
        connection.connection.close()
    with suppress(Exception):
        connection.close()
