"""Read rows although one of them holds what is no JSON, because somebody has changed it by hand."""

from typing import Any

from django.db.models import QuerySet

from ..db.fields import JSONTextField, as_text, decoded

__all__ = ["read"]


def read(rows: QuerySet[Any]) -> list[Any]:
    """Return *rows*, in one statement; a value that is no JSON becomes None, and then it takes two."""
    try:
        return list(rows)
    except ValueError:
        return _read_as_text(rows)


def _read_as_text(rows: QuerySet[Any]) -> list[Any]:
    names = _json_columns(rows)
    found = list(rows.defer(*names).annotate(**as_text(names)))
    for row in found:
        for name in names:
            setattr(row, name, decoded(row, name))
    return found


def _json_columns(rows: QuerySet[Any]) -> list[str]:
    """Return the names of the JSON columns that *rows* reads."""
    named, are_left_out = rows.query.deferred_loading
    columns = (field.name for field in rows.model._meta.concrete_fields if isinstance(field, JSONTextField))
    return [name for name in columns if (name in named) != are_left_out]
