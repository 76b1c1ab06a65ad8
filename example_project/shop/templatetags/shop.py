"""`{% load shop %}`: template filters of the shop."""

from django import template

__all__ = ["size"]

register = template.Library()


@register.filter
def size(count: int) -> str:
    """Return a number of bytes as text: "480 bytes", "1.3 kB", "20 MB". A kB has 1000 bytes."""
    if count < 1_000:
        return f"{count} bytes"
    number, unit = (count / 1_000, "kB") if count < 1_000_000 else (count / 1_000_000, "MB")
    return f"{number:,.1f} {unit}".replace(".0 ", " ")
