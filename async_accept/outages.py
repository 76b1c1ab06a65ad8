"""Which errors say that the database is away, and not that the work is wrong.

After a failover a client may still be connected to a server that only reads by now. PostgreSQL reports that as an
internal error of the statement, so the class of the error does not tell.
"""

from django.db import Error, InterfaceError, OperationalError

__all__ = ["DATABASE_FAULTS", "is_outage"]

#: The database or the way to it failed. ``is_outage()`` knows further ones by their code.
DATABASE_FAULTS = (OperationalError, InterfaceError)
#: ``read_only_sql_transaction`` (https://www.postgresql.org/docs/current/errcodes-appendix.html).
READ_ONLY_STATES = frozenset({"25006"})
#: ``ER_OPTION_PREVENTS_STATEMENT`` and ``ER_READ_ONLY_MODE`` (https://mariadb.com/kb/en/mariadb-error-codes/).
READ_ONLY_NUMBERS = frozenset({1290, 1836})
#: ``ER_TRUNCATED_WRONG_VALUE_FOR_FIELD``: text that the column's character set does not have. mysqlclient calls it
#: operational, and it would fail for ever.
WRONG_VALUE_NUMBERS = frozenset({1366})


def is_outage(error: BaseException) -> bool:
    """Tell whether *error* means that the database is away, or reads only after a failover: it is worth repeating."""
    if isinstance(error, DATABASE_FAULTS):
        return not (error.args and error.args[0] in WRONG_VALUE_NUMBERS)
    return isinstance(error, Error) and _is_read_only(error.__cause__ or error)


def _is_read_only(error: BaseException) -> bool:
    """Ask the driver's own exception: psycopg has a state, psycopg2 calls it a code, MySQL's drivers have a number."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state in READ_ONLY_STATES or (bool(error.args) and error.args[0] in READ_ONLY_NUMBERS)
