"""What a look of the watcher reads of each job: a stamp, which differs as soon as a waiting client may be concerned.

A look asks about every job that somebody waits for, several times a second, and nearly always nothing has changed. So
the statement is compiled once, the database writes times as text, and stamps are only compared.
"""

from collections.abc import Collection, Iterator
from functools import cache
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import TextField
from django.db.models.functions import Cast

from ..models import Job, database

__all__ = ["Stamp", "digest", "key_of", "stamps", "users_have_is_active"]

#: When a job has changed last, its state, its owner, and whether they are active; as the database writes it.
Stamp = tuple[Any, ...]


def key_of(pk: UUID) -> str:
    """Return the id of a job as the database writes it as text: with hyphens or without."""
    return str(Job._meta.pk.get_db_prep_value(pk, connections[database()]))


def stamps(keys: Collection[str]) -> dict[str, Stamp]:
    """Return the stamps of these jobs by ``key_of()``; what is gone or forgotten is left out.

    It is one statement, except on SQLite, which takes a limited number of values in each.
    """
    using = database()
    select, params = _select(using)
    found: dict[str, Stamp] = {}
    with connections[using].cursor() as cursor:
        for condition, values in _conditions(list(keys), connections[using], len(params)):
            cursor.execute(f"{select} {condition}", [*params, *values])
            found.update((row[0], row[1:]) for row in cursor.fetchall())
    return found


@cache
def _select(using: str) -> tuple[str, list[Any]]:
    """Return the statement up to the column of the id, and its values."""
    columns: list[Any] = [Cast("pk", TextField()), Cast("updated_at", TextField()), "state", "owner_id"]
    if users_have_is_active():
        columns.append("owner__is_active")
    query = Job.objects.filter(forgotten=False).order_by().values_list(*columns).query
    text, params = query.get_compiler(using).as_sql()
    quote, meta = connections[using].ops.quote_name, Job._meta
    column = f"{quote(meta.db_table)}.{quote(str(meta.pk.column))}"
    return f"{text} AND {column}", list(params)


def digest(keys: Collection[str]) -> str | None:
    """Return a text that changes as soon as the stamp of one of these jobs does; None if this database cannot tell.

    Nearly always nothing has changed. Then the rows need not be sent, read and compared.
    """
    using = database()
    if connections[using].vendor != "postgresql":
        return None
    select, params = _select(using)
    [(condition, values)] = _conditions(list(keys), connections[using], len(params))
    # A sum, because rows come in any order.
    text = f"SELECT SUM(HASHTEXTEXTENDED(row::text, 0))::text FROM ({select} {condition}) AS row"  # noqa: S608 no values in it
    with connections[using].cursor() as cursor:
        cursor.execute(text, [*params, *values])
        return str(cursor.fetchone()[0])


def _conditions(ids: list[str], connection: Any, others: int) -> Iterator[tuple[str, list[str]]]:
    if connection.vendor == "postgresql":
        # One value, however many ids: to write and to parse thousands would cost more than to find the rows.
        yield "= ANY(%s::uuid[])", ["{" + ",".join(ids) + "}"]
        return
    most = connection.features.max_query_params
    size = most - others if most else len(ids)
    for first in range(0, len(ids), size):
        chunk = ids[first : first + size]
        yield f"IN ({', '.join(['%s'] * len(chunk))})", chunk


def users_have_is_active() -> bool:
    """Whether the user model has that column; without it all users are active."""
    return any(field.name == "is_active" for field in get_user_model()._meta.get_fields())
