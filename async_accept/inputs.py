"""From a request's data to a job's input: what JSON keeps of it, and what is nested too deeply to be kept."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django.db import models

from .encoding import DEPTH

__all__ = ["is_deep", "plain"]


def is_deep(data: Any) -> bool:
    """Tell whether *data* is nested more deeply than can be stored; level by level, whatever its depth."""
    level, depth = [data], 0
    while level := [item for value in level for item in _items(value)]:
        depth += 1
        if depth > DEPTH:
            return True
    return False


def plain(value: Any) -> Any:
    """Replace model instances by their primary keys, and decimals by their text, which the encoder would round."""
    match value:
        case models.Model():
            return value.pk
        case Decimal():
            return str(value)
        case Mapping():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple() | set() | models.QuerySet():
            return [plain(item) for item in value]
    return value


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
