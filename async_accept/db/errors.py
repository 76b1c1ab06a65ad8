"""Which errors of the database are worth another try, and the two ways to try again.

Two cases: the database is away (an outage), or it ended our transaction so that another one could go on (a conflict).

The class of an error is not enough to tell. After a failover a client may still be connected to a server that only
reads by now, and PostgreSQL reports that as an internal error of the statement.
"""

from collections.abc import Callable
from itertools import chain, repeat
from time import monotonic, sleep
from typing import TypeVar

from django.db import Error, InterfaceError, OperationalError, connections

__all__ = [
    "PAUSES",
    "again_after_conflict",
    "again_after_outage",
    "is_away",
    "is_conflict",
    "is_outage",
]

T = TypeVar("T")

#: The database or the way to it failed. ``is_outage()`` knows further ones by their code.
DATABASE_FAULTS = (OperationalError, InterfaceError)
#: ``read_only_sql_transaction`` (https://www.postgresql.org/docs/current/errcodes-appendix.html).
READ_ONLY_STATES = frozenset({"25006"})
#: ``ER_OPTION_PREVENTS_STATEMENT`` and ``ER_READ_ONLY_MODE`` (https://mariadb.com/kb/en/mariadb-error-codes/).
READ_ONLY_NUMBERS = frozenset({1290, 1836})
#: ``ER_TRUNCATED_WRONG_VALUE_FOR_FIELD``: text that the column's character set does not have. mysqlclient calls it
#: operational, and it would fail for ever.
WRONG_VALUE_NUMBERS = frozenset({1366})
#: ``serialization_failure``, ``deadlock_detected`` of PostgreSQL.
CONFLICT_STATES = frozenset({"40001", "40P01"})
#: ``ER_CHECKREAD`` (with ``innodb_snapshot_isolation``) and ``ER_LOCK_DEADLOCK`` of MariaDB.
CONFLICT_NUMBERS = frozenset({1020, 1213})
#: SQLite cannot be read or written: busy, locked, read only, I/O error, full, cannot open (https://sqlite.org/rescode.html).
SQLITE_AWAY = frozenset({5, 6, 8, 10, 13, 14})
#: How often a write is tried that ends in a conflict each time.
TRIES = 5
#: Pauses in seconds between tries while the database is away; the last one repeats.
PAUSES = (0.1, 0.2, 0.5)


def is_outage(error: BaseException) -> bool:
    """Tell whether *error* means that the database is away, or only reads after a failover."""
    if isinstance(error, DATABASE_FAULTS):
        return not (error.args and error.args[0] in WRONG_VALUE_NUMBERS)
    return isinstance(error, Error) and _is_one_of(error, READ_ONLY_STATES, READ_ONLY_NUMBERS)


def is_away(error: BaseException, using: str) -> bool:
    """Tell whether the database is away after *error*: it does not answer on the same connection, or only reads.

    More exact than ``is_outage()``, and asks the database. A statement that ran into a timeout or a lock, and an
    ``OperationalError`` that is raised by code of the project, say nothing about the other statements.
    """
    if not is_outage(error):
        return False
    connection, cause = connections[using], error.__cause__ or error
    if _is_one_of(error, READ_ONLY_STATES, READ_ONLY_NUMBERS):  # type: ignore[arg-type] # an outage is an Error
        return True
    if getattr(cause, "sqlite_errorcode", 0) & 0xFF in SQLITE_AWAY:
        return True
    return connection.connection is None or not connection.is_usable()


def is_conflict(error: BaseException) -> bool:
    """Tell whether the database ended this transaction so that another could go on: nothing of it is left."""
    return isinstance(error, Error) and _is_one_of(error, CONFLICT_STATES, CONFLICT_NUMBERS)


def again_after_outage(
    do: Callable[[], T], using: str, until: float, unless: Callable[[], bool] = lambda: False
) -> T:
    """Return what *do* returns; while the database is away, try again on a fresh connection.

    Args:
        until: how long to try, as a time of ``time.monotonic()``.
        unless: asked after each failure; True gives up.

    Raises:
        django.db.Error: it is no outage, or the time is over, or *unless*. Inside somebody's transaction the error is
            raised at once: all that came before is lost with the connection.
    """
    connection = connections[using]
    pauses = chain(PAUSES, repeat(PAUSES[-1]))
    while True:
        try:
            return do()
        except Error as error:
            if connection.in_atomic_block or not is_outage(error) or monotonic() > until or unless():
                raise
            connection.close()
        sleep(next(pauses))


def again_after_conflict(write: Callable[[], T], using: str) -> T:
    """Return what *write* returns: one statement, or one transaction, which is done again if it ends in a conflict.

    InnoDB locks the gaps of an index, so that even inserts of two rows may deadlock. Inside somebody's transaction
    the error is raised at once: it took all that came before with it.

    Sources: https://mariadb.com/kb/en/innodb-lock-modes/, https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html.
    """
    for _ in range(TRIES - 1):
        try:
            return write()
        except Error as error:
            if connections[using].in_atomic_block or not is_conflict(error):
                raise
    return write()


def _is_one_of(error: Error, states: frozenset[str], numbers: frozenset[int]) -> bool:
    """Ask the driver's own exception: psycopg has a state, psycopg2 calls it a code, MySQL's drivers have a number."""
    cause = error.__cause__ or error
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return state in states or (bool(cause.args) and cause.args[0] in numbers)
