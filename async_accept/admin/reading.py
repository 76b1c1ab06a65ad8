"""Read rows although one of them holds what is no JSON, because somebody has changed it by hand."""

from contextlib import suppress
from typing import Any

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from .. import encoding
from ..db.fields import JSONTextField

__all__ = ["read"]


def read(rows: QuerySet[Any]) -> list[Any]:
    """Return *rows*, in one statement; a value that is no JSON becomes None, and then it takes two."""
    try:
        return list(rows)
    except ValueError:
        return _read_as_text(rows)


def _read_as_text(rows: QuerySet[Any]) -> list[Any]:
    names = _json_columns(rows)
    texts = {f"{name}_text": Cast(name, TextField()) for name in names}
    found = list(rows.defer(*names).annotate(**texts))
    for row in found:
        for name in names:
            setattr(row, name, _decoded(getattr(row, f"{name}_text")))
    return found


def _json_columns(rows: QuerySet[Any]) -> list[str]:
    """Return the names of the JSON columns that *rows* reads."""
    named, are_left_out = rows.query.deferred_loading
    columns = (field.name for field in rows.model._meta.concrete_fields if isinstance(field, JSONTextField))
    return [name for name in columns if (name in named) != are_left_out]


def _decoded(text: str | None) -> Any:
    with suppress(ValueError):
        return None if text is None else encoding.loads(text)
    return None
