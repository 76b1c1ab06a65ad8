"""`{% load shop %}`: what the shop's pages say in numbers."""

from django import template

__all__ = ["size"]

register = template.Library()


@register.filter
def size(count: int) -> str:
    """How large so many bytes are, in units of a thousand: "480 bytes", "1.3 kB", "20 MB"."""
    if count < 1_000:
        return f"{count} bytes"
    number, unit = (count / 1_000, "kB") if count < 1_000_000 else (count / 1_000_000, "MB")
    return f"{number:,.1f} {unit}".replace(".0 ", " ")
