"""A JSON column that stores exactly what it is given.

PostgreSQL's ``jsonb`` reorders keys and rewrites numbers, but a replay must see the input that was accepted. No query
looks into these values, so they are stored as text.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.functions import Cast

from .. import encoding

__all__ = ["JSONTextField", "as_text", "decoded"]

if TYPE_CHECKING:
    TextField = models.TextField[Any, Any]
else:  # only django-stubs can subscript it
    TextField = models.TextField


class JSONTextField(TextField):
    """Stores any JSON value as text; None is SQL NULL.

    Raises:
        Unencodable: a value that is saved has no form in strict JSON (see ``async_accept.encoding``).
    """

    if TYPE_CHECKING:
        # For django-stubs: the value may be of any type, not only text.
        _pyi_private_set_type: Any
        _pyi_private_get_type: Any
        _pyi_lookup_exact_type: Any

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        return None if value is None else encoding.loads(value)

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> str | None:
        return value if value is None or isinstance(value, encoding.Encoded) else encoding.dumps(value)

    def value_to_string(self, obj: models.Model) -> Any:
        # As Django's JSONField does: a fixture has the value itself, and not JSON inside of JSON.
        return self.value_from_object(obj)


def as_text(names: Iterable[str]) -> dict[str, Any]:
    """Return annotations that read these columns as text, for ``decoded()``: a row may hold what is no JSON."""
    return {f"{name}_text": Cast(name, models.TextField()) for name in names}


def decoded(row: models.Model, name: str) -> Any:
    """Return the value of a column that was read by ``as_text()``; None if it is no JSON."""
    text = vars(row)[f"{name}_text"]
    try:
        return None if text is None else encoding.loads(text)
    except ValueError:
        return None
