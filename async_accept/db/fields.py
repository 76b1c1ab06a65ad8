"""A JSON column that keeps exactly what it was given.

PostgreSQL's ``jsonb`` reorders keys and rewrites numbers; a replayed request must see the same input that was
accepted. Nobody queries into these values, so they are text.
"""

from typing import TYPE_CHECKING, Any

from django.db import models

from .. import encoding

__all__ = ["JSONTextField"]

if TYPE_CHECKING:
    TextField = models.TextField[Any, Any]
else:  # subscripted by django-stubs only
    TextField = models.TextField


class JSONTextField(TextField):
    """Stores any JSON value as text; None is SQL NULL.

    Raises:
        Unencodable: on saving a value that strict JSON cannot say (see ``async_accept.encoding``).
    """

    if TYPE_CHECKING:
        # What django-stubs reads: a value of any kind, not text.
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
        # As Django's JSONField: a fixture holds the value itself, and loading it needs no second decoding.
        return self.value_from_object(obj)
