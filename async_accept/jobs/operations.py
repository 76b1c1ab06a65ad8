"""What the name of an operation may be: it is a column of its own."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ..models import OPERATION_CHARS

__all__ = ["check_operation"]


def check_operation(name: Any, place: str) -> None:
    """See that the operation *name* can be stored.

    Args:
        place: what gives it this name.

    Raises:
        ImproperlyConfigured: it is too long, or has a NUL character.
    """
    text = str(name)
    if len(text) > OPERATION_CHARS:
        raise ImproperlyConfigured(
            f"{place} has an operation of {len(text)} characters, and it may have {OPERATION_CHARS}: {text[:30]}…"
        )
    if "\0" in text:
        raise ImproperlyConfigured(f"{place} has an operation with a NUL character.")
