"""Statements that the ORM compiles once in a process, and not each time.

To compile a statement for a wide table costs more than all else about it, and its text is always the same. Only the
compiling is left out: values still pass through the fields of the model, and rows become instances of it.

``db/updates.py`` has the UPDATEs.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from django.conf import settings
from django.db import IntegrityError, connections, models, transaction
from django.db.models.constants import OnConflict
from django.db.models.signals import post_save, pre_save
from django.db.models.sql import InsertQuery

from .errors import is_taken

__all__ = [
    "Lookup",
    "Select",
    "compile_select",
    "insert",
    "insert_if_free",
    "is_heard",
    "param",
    "params_of_insert",
    "text_of_insert",
]

Row = TypeVar("Row", bound=models.Model)

#: Fields that pass on values of these types as they are, on every database.
_PLAIN = {
    models.BooleanField: bool,
    models.CharField: str,
    models.PositiveIntegerField: int,
    models.PositiveSmallIntegerField: int,
    models.TextField: str,
}


def insert(row: models.Model, using: str) -> None:
    """Insert *row*, whose primary key and columns are plain values, as ``save(force_insert=True)`` does.

    If somebody listens to the signals of ``save()``, that is what is called.

    Raises:
        IntegrityError: one of its unique values is taken.
    """
    if is_heard(type(row)):
        row.save(force_insert=True, using=using)
    else:
        _insert(row, using)


def insert_if_free(row: models.Model, using: str) -> bool:
    """Insert *row* as ``insert()`` does, unless one of its unique values is taken; return whether it was inserted.

    An error would end the caller's transaction, and be a line in the log of the server. Only MariaDB has no other way.
    """
    connection = connections[using]
    if not is_heard(type(row)) and connection.features.supports_update_conflicts_with_target:
        return _insert(row, using, " ON CONFLICT DO NOTHING")
    try:
        # In somebody's transaction, a statement that may fail needs a savepoint.
        with transaction.atomic(using=using) if connection.in_atomic_block else nullcontext():
            insert(row, using)
    except IntegrityError as error:
        if not is_taken(error):
            raise
        return False
    return True


def is_heard(model: type[models.Model]) -> bool:
    """Whether somebody listens to the signals of ``save()``."""
    return pre_save.has_listeners(model) or post_save.has_listeners(model)


def _insert(row: models.Model, using: str, conflict: str = "") -> bool:
    connection = connections[using]
    with transaction.mark_for_rollback_on_error(using=using), connection.cursor() as cursor:
        cursor.execute(text_of_insert(type(row), using) + conflict, params_of_insert(row, connection))
        if not cursor.rowcount:
            return False
    row._state.db, row._state.adding = using, False
    return True


def param(field: Any, value: Any, connection: Any) -> Any:
    """Return *value* as the driver takes it for the column of *field*."""
    is_plain = value is None or _PLAIN.get(type(field)) is type(value)
    return value if is_plain else field.get_db_prep_save(value, connection)


def params_of_insert(row: models.Model, connection: Any) -> list[Any]:
    """Return the values of ``text_of_insert()``."""
    plan = _plan_of_insert(type(row))
    for field in plan.making:
        setattr(row, field.attname, field.pre_save(row, True))
    return [
        # As param(), without a call for each of many columns.
        value if value is None or type(value) is kind else field.get_db_prep_save(value, connection)
        for field, kind, value in zip(plan.fields, plan.plain, plan.values_of(row), strict=True)
    ]


class _Plan(NamedTuple):
    """How the values of an INSERT are got from a row."""

    fields: list[Any]
    #: For each field the type of the values that it passes on as they are; None if there is none.
    plain: list[Any]
    #: Returns the row's values, in the order of the fields.
    values_of: Callable[[Any], tuple[Any, ...]]
    #: The fields that make a value of their own, such as the present time.
    making: list[Any]


@cache
def _plan_of_insert(kind: type[models.Model]) -> _Plan:
    fields = _inserted(kind)
    usual = (models.Field.pre_save, models.DateTimeField.pre_save)
    return _Plan(
        fields,
        [_PLAIN.get(type(field)) for field in fields],
        attrgetter(*(field.attname for field in fields)),
        [
            field
            for field in fields
            if type(field).pre_save not in usual
            or getattr(field, "auto_now", False)
            or getattr(field, "auto_now_add", False)
        ],
    )


@cache
def _inserted(kind: type[models.Model]) -> list[Any]:
    """Return the fields of an INSERT: all but a primary key that the database makes."""
    return [field for field in kind._meta.local_concrete_fields if not isinstance(field, models.AutoField)]


@cache
def text_of_insert(kind: type[models.Model], using: str, key: str = "", updated: tuple[str, ...] = ()) -> str:
    """Return the text of an INSERT; if there is a row with the same *key* already, that one is *updated*.

    Args:
        key: the name of a unique field.
        updated: the names of the fields that are written over.
    """
    find = kind._meta.get_field
    conflict: dict[str, Any] = {}
    if key:
        needs_key = connections[using].features.supports_update_conflicts_with_target
        conflict = {
            "on_conflict": OnConflict.UPDATE,
            "update_fields": [find(name) for name in updated],
            "unique_fields": [find(key)] if needs_key else [],
        }
    query: Any = InsertQuery(kind, **conflict)
    query.insert_values(_inserted(kind), [kind()])
    [(text, _)] = query.get_compiler(using).as_sql()
    return str(text)


class Lookup(Generic[Row]):
    """Finds rows of a query set by one unique column.

    Args:
        rows: returns the query set. It has no condition of its own, and the same columns each time.
        name: of the field.
    """

    def __init__(self, rows: Callable[[], models.QuerySet[Row]], name: str) -> None:
        self._rows = rows
        self._name = name
        #: By the database, and by ``USE_TZ``, which decides how its times are read.
        self._compiled: dict[tuple[str, bool], Select] = {}

    def find(self, value: Any, using: str) -> Row | None:
        """Return what ``rows().using(using).filter(name=value).first()`` returns; *value* is not None."""
        key = using, settings.USE_TZ
        select = self._compiled.get(key)
        if select is None:
            select = self._compiled[key] = compile_select(self._rows().filter(**{self._name: value}), using)
        connection = connections[using]
        field = select.model._meta.get_field(self._name)
        with connection.cursor() as cursor:
            cursor.execute(select.text, [field.get_db_prep_value(value, connection)])
            found = cursor.fetchone()
        return None if found is None else select.row(list(found), connection)


class Select(NamedTuple):
    """The text of a SELECT, and how its rows become instances."""

    text: str
    model: Any
    #: The names of the model's columns, which come first. A dict, because ``from_db()`` looks for each field in it.
    names: dict[str, None]
    #: The columns that come after them, by name.
    annotations: dict[str, int]
    #: What makes Python's values of those of the database, by column.
    converters: dict[int, tuple[list[Callable[..., Any]], Any]]

    def row(self, values: list[Any], connection: Any) -> Any:
        """Return the instance for a row of *values*, which are converted in place."""
        for column, (converters, expression) in self.converters.items():
            for convert in converters:
                values[column] = convert(values[column], expression, connection)
        row = self.model.from_db(connection.alias, self.names, values[: len(self.names)])
        for name, column in self.annotations.items():
            setattr(row, name, values[column])
        return row


def compile_select(rows: models.QuerySet[Any], using: str) -> Select:
    """Compile the SELECT of *rows*, without their order."""
    compiler: Any = rows.order_by().query.get_compiler(using)
    text, _ = compiler.as_sql()
    expressions = [expression for expression, *_ in compiler.select]
    names = dict.fromkeys(
        expressions[column].target.attname for column in compiler.klass_info["select_fields"]
    )
    converters = compiler.get_converters(expressions)
    return Select(text, rows.model, names, compiler.annotation_col_map, converters)
