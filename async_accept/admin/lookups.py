"""What a list's URL may compare: what its filters name, and nothing else.

With any other lookup, staff could guess stored inputs and secrets bit by bit.
"""

from collections.abc import Collection, Iterator
from typing import Any, ClassVar

from django.contrib.admin.utils import get_fields_from_path
from django.http import HttpRequest

__all__ = ["LookupsMixin"]

#: How a filter compares a foreign key. Any other word after it would name a column of the other table.
OF_A_RELATION = frozenset({"exact", "in", "isnull", "isempty"})


class LookupsMixin:
    """Allows the parameters and fields that ``list_filter`` and ``date_hierarchy`` name."""

    model: Any
    date_hierarchy: ClassVar[Any]
    get_list_filter: Any
    #: Fields that may be compared although no filter names them.
    lookups: ClassVar[Collection[str]] = ()
    #: Fields that are never compared, even if a filter names them.
    guarded: ClassVar[Collection[str]] = ()

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        filters = self.get_list_filter(request)
        if lookup in {getattr(entry, "parameter_name", None) for entry in filters}:
            return True
        if "\0" in str(value):  # PostgreSQL refuses the statement
            return False
        named = [name for name in self._named_fields(filters) if not {*self.guarded} & {*name.split("__")}]
        return lookup.removesuffix("__exact") in self.lookups or any(
            lookup == name or (lookup.startswith(f"{name}__") and self._compares(name, lookup))
            for name in named
        )

    def _named_fields(self, filters: Any) -> Iterator[str]:
        entries = [entry[0] if isinstance(entry, list | tuple) else entry for entry in filters]
        yield from (name for name in (*entries, self.date_hierarchy) if isinstance(name, str))

    def _compares(self, name: str, lookup: str) -> bool:
        """Whether *lookup* compares the field *name* itself, and no column behind a foreign key."""
        field: Any = get_fields_from_path(self.model, name)[-1]
        if not field.is_relation:
            return True
        how = lookup.removeprefix(f"{name}__").removeprefix(f"{field.target_field.name}__")
        return how in OF_A_RELATION or how == field.target_field.name
