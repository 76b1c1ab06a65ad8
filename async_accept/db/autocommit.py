"""Let code that was written for autocommit run inside of a transaction, and see no difference.

A view outside of ``ATOMIC_REQUESTS`` commits with each statement. Its replay shall answer the same, but commit together
with the end of its job. So a transaction is open around it, and for the code inside, savepoints stand in for
transactions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

from django.db import Error, connections

from .errors import is_conflict

__all__ = ["as_in_autocommit"]

#: What Django keeps of the transactions that are open.
STATE = (
    "autocommit",
    "atomic_blocks",
    "commit_on_exit",
    "in_atomic_block",
    "needs_rollback",
    "run_commit_hooks_on_set_autocommit_on",
    "savepoint_ids",
)
#: The methods of the connection that begin and end a transaction, or tell of its end.
METHODS = ("close", "commit", "on_commit", "rollback", "set_autocommit")

Execute = Callable[[str, Any, bool, dict[str, Any]], Any]


@contextmanager
def as_in_autocommit(using: str) -> Iterator[None]:
    """Inside, the connection looks as if it were in autocommit, although a transaction is open.

    What fails costs no more than its own statement or ``atomic()`` block: a caught ``IntegrityError`` does no harm.
    ``atomic(durable=True)`` is possible. ``set_rollback()`` of REST framework does nothing outside of ``atomic()``.
    Differences remain: what was written is seen by others after the outer commit only, callbacks of ``on_commit()``
    wait for it, and ``close()`` does nothing.

    PostgreSQL ends a transaction with the first statement that fails. So there each statement outside of ``atomic()``
    gets a savepoint of its own, which costs two more. Other databases undo the statement alone.

    Raises:
        django.db.Error: the database has ended the outer transaction (a deadlock on MariaDB), so all of it is lost.
    """
    connection = connections[using]
    before = {name: getattr(connection, name) for name in STATE}
    methods = {name: vars(connection)[name] for name in METHODS if name in vars(connection)}
    callbacks = len(connection.run_on_commit)
    stand_in = _Savepoints(connection)
    stand_in.take_over()
    try:
        with connection.execute_wrapper(stand_in.execute):
            yield
        stand_in.leave(last=len(before["atomic_blocks"]) == 1)
    finally:
        broken = connection.needs_rollback
        for name in METHODS:
            delattr(connection, name)
        for name, value in (before | methods).items():
            setattr(connection, name, value)
        connection.needs_rollback = broken or before["needs_rollback"]
        # A rollback of an outer savepoint forgets them as well.
        outer = set(connection.savepoint_ids)
        waiting: list[Any] = connection.run_on_commit
        waiting[callbacks:] = [(ids | outer, *rest) for ids, *rest in waiting[callbacks:]]
    if stand_in.lost is not None:
        raise stand_in.lost


class _Savepoints:
    """Stands in for the transactions of a connection. Its methods have the names and arguments of Django's."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.is_postgresql = connection.vendor == "postgresql"
        self.numbers = count(1)
        #: The savepoint that is the open transaction, and how many callbacks waited for a commit when it began.
        self.open: tuple[str, int] | None = None
        #: A statement of our own is being executed.
        self.busy = False
        #: Why the outer transaction is gone.
        self.lost: Error | None = None

    def take_over(self) -> None:
        connection = self.connection
        if self.is_postgresql:
            # In autocommit, a foreign key to nowhere is found by the statement, not by the commit.
            self._execute("SET CONSTRAINTS ALL IMMEDIATE")
        connection.autocommit = True
        connection.in_atomic_block = connection.needs_rollback = False
        connection.savepoint_ids, connection.atomic_blocks = [], []
        for name in METHODS:
            setattr(connection, name, getattr(self, name))

    def leave(self, *, last: bool) -> None:
        """Leave the constraints as they were, unless the outer transaction is the only one, and ends now."""
        if self.is_postgresql and not last:
            self._execute("SET CONSTRAINTS ALL DEFERRED")

    # --- Instead of Django's -----------------------------------------------------------------------------------

    def set_autocommit(
        self, autocommit: bool, force_begin_transaction_with_broken_autocommit: bool = False
    ) -> None:
        self.connection.validate_no_atomic_block()
        if autocommit:
            self.commit()
        elif self.open is None:
            self._begin()
        self.connection.autocommit = autocommit

    def commit(self) -> None:
        self.connection.validate_no_atomic_block()
        if self.open is not None:
            check = "SET CONSTRAINTS ALL IMMEDIATE; " if self.is_postgresql else ""
            self._execute(check + self.connection.ops.savepoint_commit_sql(self.open[0]))
            self.open = None

    def rollback(self) -> None:
        self.connection.validate_no_atomic_block()
        self.connection.needs_rollback = False
        if self.open is not None:
            savepoint, callbacks = self.open
            self.open = None
            del self.connection.run_on_commit[callbacks:]
            self._undo(savepoint)

    def on_commit(self, func: Callable[[], object], robust: bool = False) -> None:
        if not callable(func):
            raise TypeError("on_commit()'s callback must be a callable.")
        self.connection.run_on_commit.append((set(self.connection.savepoint_ids), func, robust))

    def close(self) -> None:
        """Do nothing: the connection is not the caller's alone."""

    # --- Statements --------------------------------------------------------------------------------------------

    def execute(self, execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Execute a statement; if it fails, undo it alone."""
        if self.busy:
            return execute(sql, params, many, context)
        if self.lost is not None:
            raise self.lost
        if not self.connection.autocommit and self.open is None:
            self._begin()  # set_autocommit(False), and then commit(): the next transaction begins by itself
        try:
            if not self.is_postgresql or self.open is not None:
                return execute(sql, params, many, context)
            return self._execute_alone(execute, sql, params, many, context)
        except Error as error:
            if not self.is_postgresql and is_conflict(error):
                self.lost = error
            raise

    def _execute_alone(self, execute: Execute, *statement: Any) -> Any:
        savepoint = self._new_savepoint()
        self._execute(self.connection.ops.savepoint_create_sql(savepoint))
        try:
            done = execute(*statement)
        except BaseException:
            with suppress(Error):  # the first error is the one to tell
                self._undo(savepoint)
            raise
        self._execute(self.connection.ops.savepoint_commit_sql(savepoint))
        return done

    def _begin(self) -> None:
        savepoint = self._new_savepoint()
        later = "; SET CONSTRAINTS ALL DEFERRED" if self.is_postgresql else ""
        self._execute(self.connection.ops.savepoint_create_sql(savepoint) + later)
        self.open = savepoint, len(self.connection.run_on_commit)

    def _undo(self, savepoint: str) -> None:
        self._execute(self.connection.ops.savepoint_rollback_sql(savepoint))
        self._execute(self.connection.ops.savepoint_commit_sql(savepoint))

    def _new_savepoint(self) -> str:
        return f"async_accept_{next(self.numbers)}"

    def _execute(self, sql: str) -> None:
        self.busy = True
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
        finally:
            self.busy = False
