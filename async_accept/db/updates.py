"""Conditional UPDATEs of one row, compiled once for each kind of them, and not each time.

As in ``db/compiled.py``, only the compiling is left out: each value passes through its field.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

from django.db import connections, models, router, transaction
from django.db.models import Expression
from django.db.models.sql import UpdateQuery

from .compiled import param, params_of_insert, text_of_insert
from .functions import offset_seconds

__all__ = ["Slot", "Statement", "Upsert", "compile_update", "update"]

#: The statements that were compiled, by database, kind, and what else is in their text.
_compiled: dict[tuple[str, Hashable, int], "Statement"] = {}


class Slot(Expression):
    """The place of a value that is known only when the statement is executed.

    Args:
        name: of the value.
        field: what prepares the value.
    """

    def __init__(self, name: str, field: Any) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


class Upsert(NamedTuple):
    """A row that is written, over the one that has the same key if there is one."""

    row: models.Model
    #: The name of a unique field.
    key: str
    #: The names of the fields that are written over.
    updated: tuple[str, ...]

    def write(self, using: str) -> None:
        with connections[using].cursor() as cursor:
            cursor.execute(self._text(using), self.params(connections[using]))

    def write_if(self, changed: "Statement", values: Mapping[str, Any], using: str) -> bool:
        """Write the row if *changed*, an UPDATE, finds one; all in one statement, by which either is done or neither.

        Source: https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING.
        """
        insert, _, rest = self._text(using).partition(" VALUES (")
        row, _, conflict = rest.partition(")")
        text = f"WITH changed AS ({changed.text} RETURNING 1) {insert} SELECT {row} FROM changed{conflict}"  # noqa: S608 no values
        connection = connections[using]
        with connection.cursor() as cursor:
            cursor.execute(text, [*changed.params(values, connection), *self.params(connection)])
            return bool(cursor.rowcount)

    def _text(self, using: str) -> str:
        return text_of_insert(type(self.row), using, self.key, self.updated)

    def params(self, connection: Any) -> list[Any]:
        return params_of_insert(self.row, connection)


class Statement(NamedTuple):
    """The text of a statement, and its values: each one itself, or the slot for it."""

    text: str
    slots: tuple[Any, ...]

    def params(self, values: Mapping[str, Any], connection: Any) -> list[Any]:
        return [
            param(slot.output_field, values[slot.name], connection) if isinstance(slot, Slot) else slot
            for slot in self.slots
        ]


def update(
    kind: Hashable | None,
    rows: Callable[[], models.QuerySet[Any]],
    changes: Mapping[str, Any],
    values: Mapping[str, Any],
    using: str,
    beside: Upsert | None = None,
) -> bool:
    """Change the one row of ``rows()`` by one UPDATE; False if there is none.

    Args:
        kind: what compiles to the same statement has the same kind; None if there is no end of kinds.
        rows: returns the query set, in which slots stand for the values that differ within the kind.
        changes: the new values of columns, by the names of the fields; expressions are the same within the kind.
        values: those of the other slots, by name.
        beside: a row that is written together with the change, or not at all.
    """
    key = using, kind, offset_seconds(connections[using])
    statement = None if kind is None else _compiled.get(key)
    if statement is None:
        statement = compile_update(rows(), changes, using)
        if kind is not None:
            _compiled[key] = statement
    given = {**changes, **values}
    if beside is None:
        return _execute(statement, given, using)
    if _takes_both(using, beside):
        with transaction.mark_for_rollback_on_error(using=using):
            return beside.write_if(statement, given, using)
    with transaction.atomic(using=using, savepoint=False):
        changed = _execute(statement, given, using)
        if changed:
            beside.write(router.db_for_write(type(beside.row)))
    return changed


def _takes_both(using: str, beside: Upsert) -> bool:
    """Whether one statement may change the row, and write the other one."""
    return connections[using].vendor == "postgresql" and router.db_for_write(type(beside.row)) == using


def _execute(statement: Statement, values: Mapping[str, Any], using: str) -> bool:
    connection = connections[using]
    with transaction.mark_for_rollback_on_error(using=using), connection.cursor() as cursor:
        cursor.execute(statement.text, statement.params(values, connection))
        return bool(cursor.rowcount)


def compile_update(rows: models.QuerySet[Any], changes: Mapping[str, Any], using: str) -> Statement:
    """Compile the UPDATE of *rows*; a change that is no expression gets a slot of its own name."""
    find = rows.model._meta.get_field
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(
        {
            name: value if hasattr(value, "resolve_expression") else Slot(name, find(name))
            for name, value in changes.items()
        }
    )
    text, params = query.get_compiler(using).as_sql()
    return Statement(text, tuple(params))
