"""Which errors of the database may pass by themselves, and the two ways to try again.

Three cases pass: the database is away (an outage), it ended our transaction so that another one could go on (a
conflict), or another transaction holds a lock for too long. Everything else is the statement's own fault, and would
fail for ever: text that is too long for an index, for example.

The class of an error does not tell: to the drivers, all of these and many faults of statements are "operational". So
the server's code decides. Only what has no code comes from the driver itself, which has lost its server.
"""

from collections.abc import Callable
from itertools import chain, repeat
from time import monotonic, sleep
from typing import Any, NamedTuple, TypeVar

from django.db import Error, InterfaceError, OperationalError, connections

__all__ = [
    "PAUSES",
    "again_after_conflict",
    "again_after_outage",
    "is_away",
    "is_conflict",
    "is_outage",
    "is_passing",
    "is_taken",
]

T = TypeVar("T")


class Codes(NamedTuple):
    """The codes of one kind of error, for each database.

    Sources: https://www.postgresql.org/docs/current/errcodes-appendix.html,
    https://mariadb.com/kb/en/mariadb-error-code-reference/,
    https://dev.mysql.com/doc/mysql-errors/8.4/en/client-error-reference.html, https://sqlite.org/rescode.html.
    """

    #: How the SQLSTATE of PostgreSQL begins.
    states: tuple[str, ...]
    #: Numbers of MariaDB and MySQL.
    numbers: frozenset[int]
    #: Result codes of SQLite, primary or extended.
    results: frozenset[int] = frozenset()


#: The connection is gone, or there was no way in.
DISCONNECTED = Codes(
    states=(
        "08",  # the connection failed
        "40003",  # nobody knows whether it was done
        "53300",  # too many connections
        "57P",  # shuts down, has crashed, or starts
    ),
    numbers=frozenset(
        {
            0,  # PyMySQL: the connection is closed
            *(1040, 1203, 1226),  # too many connections
            *(1042, 1043, 1044, 1045, 1049, 1129, 1130, 1698),  # no way in
            *(1152, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161, 1184),  # the connection broke
            *(1927, 3169, 4031),  # it was ended by the server
            # The client's own, without those about a wrong use of it.
            *(2001, 2002, 2003, 2004, 2005, 2006, 2007, 2009, 2011, 2012, 2013, 2024, 2025, 2026, 2027),
            *(2047, 2048, 2055),
        }
    ),
)
#: The server answers, but takes nothing.
USELESS = Codes(
    states=(
        "25006",  # it only reads: after a failover it is a standby
        "53000",
        "53100",  # the disk is full
        "53200",  # out of memory
        "58",  # the machine below it
    ),
    numbers=frozenset(
        {
            *(1021, 1041, 1114, 1135),  # disk, memory, threads
            *(1047, 1053, 1077, 1079, 1080, 3168),  # shuts down; a node of Galera that is not ready
            *(1290, 1792, 1836),  # it only reads
        }
    ),
    # Only reads, input or output failed, full, cannot be opened, protocol of locks.
    results=frozenset({8, 10, 13, 14, 15}),
)
#: Serialization failure and deadlock; 1020 comes with ``innodb_snapshot_isolation``.
CONFLICT = Codes(states=("40001", "40P01"), numbers=frozenset({1020, 1213}))
#: ``lock_timeout``, ``innodb_lock_wait_timeout``, NOWAIT; SQLite: "database is locked".
LOCKED = Codes(states=("55P03",), numbers=frozenset({1205, 3572}), results=frozenset({5, 6}))
#: ``statement_timeout``, ``max_statement_time``, ``max_execution_time``, or somebody's KILL QUERY.
TIMED_OUT = Codes(states=("57014",), numbers=frozenset({1317, 1969, 3024}), results=frozenset({9}))
#: A unique value is there already.
TAKEN = Codes(states=("23505",), numbers=frozenset({1062, 1169, 1586}), results=frozenset({1555, 2067}))
#: What a driver calls operational without any code, although it is a fault of the caller.
CALLERS_FAULTS = ("number of parameters", "cursor")

#: The part of SQLite's extended result codes that is the primary one.
PRIMARY = 0xFF
#: How often a write is tried that ends in a conflict each time.
TRIES = 5
#: Pauses in seconds between tries while the database is away; the last one repeats.
PAUSES = (0.1, 0.2, 0.5)


def is_outage(error: BaseException) -> bool:
    """Tell whether *error* means that the database is away, is full, or only reads after a failover."""
    return _is_one_of(error, DISCONNECTED) or _is_one_of(error, USELESS) or _has_lost_its_server(error)


def is_away(error: BaseException, using: str) -> bool:
    """Tell whether the database is away after *error*: it does not answer on the same connection, or takes nothing.

    More exact than ``is_outage()``: that the connection is gone is believed only if it is. Code of the project may have
    raised the error, or another database. SQLite is away while somebody else writes: then no heartbeat can write.
    """
    connection = connections[using]
    if _is_one_of(error, USELESS) or (connection.vendor == "sqlite" and _is_one_of(error, LOCKED)):
        return True
    return is_outage(error) and (connection.connection is None or not connection.is_usable())


def is_conflict(error: BaseException) -> bool:
    """Tell whether the database ended this transaction so that another could go on: nothing of it is left."""
    return _is_one_of(error, CONFLICT)


def is_passing(error: BaseException, *, own: bool = False) -> bool:
    """Tell whether the same may succeed a moment later: an outage, a conflict, or a lock that was held for too long.

    Args:
        own: the statement was this app's. It touches few rows, so if it took too long, the database has too much to do.
            A statement of the project's that takes too long is the project's fault, and would do so again.
    """
    passing = is_outage(error) or is_conflict(error) or _is_one_of(error, LOCKED)
    return passing or (own and _is_one_of(error, TIMED_OUT))


def is_taken(error: BaseException) -> bool:
    """Tell whether a row was refused because another one has a unique value of it."""
    return _is_one_of(error, TAKEN)


def again_after_outage(
    do: Callable[[], T], using: str, until: float, unless: Callable[[], bool] = lambda: False
) -> T:
    """Return what *do* returns; while the database is away, or too slow for it, try again on a fresh connection.

    Args:
        do: only statements of this app.
        until: how long to try, as a time of ``time.monotonic()``.
        unless: asked after each failure; True gives up.

    Raises:
        django.db.Error: it does not pass, or the time is over, or *unless*. Inside somebody's transaction the error is
            raised at once: all that came before is lost with the connection.
    """
    connection = connections[using]
    pauses = chain(PAUSES, repeat(PAUSES[-1]))
    while True:
        try:
            return do()
        except Error as error:
            passes = is_passing(error, own=True)
            if connection.in_atomic_block or not passes or monotonic() > until or unless():
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


def _is_one_of(error: BaseException, codes: Codes) -> bool:
    if not isinstance(error, Error):
        return False
    code = _code_of(error)
    if isinstance(code, str):
        return code.startswith(codes.states)
    if code is not None and _is_sqlites(error):
        return code in codes.results or code & PRIMARY in codes.results
    return code in codes.numbers


def _code_of(error: Error) -> str | int | None:
    """Return the server's code as the driver's own exception has it; None if it has none."""
    cause: Any = error.__cause__ or error
    if _is_sqlites(error):
        result: int | None = getattr(cause, "sqlite_errorcode", None)
        return result
    if cause.args and isinstance(cause.args[0], int):
        return int(cause.args[0])  # MySQL's drivers; PyMySQL's errors have a state, too
    # psycopg calls it a state, psycopg2 a code.
    state: str | None = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return state


def _is_sqlites(error: Error) -> bool:
    return type(error.__cause__ or error).__module__ == "sqlite3"


def _has_lost_its_server(error: BaseException) -> bool:
    """Tell whether the driver speaks for itself. SQLite has no server: without a code, it could not read a value."""
    if not isinstance(error, OperationalError | InterfaceError) or _code_of(error) is not None:
        return False
    return not _is_sqlites(error) and not any(fault in str(error) for fault in CALLERS_FAULTS)
