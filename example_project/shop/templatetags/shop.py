"""`{% load shop %}`: template filters of the shop."""

from datetime import datetime, timedelta

from django import template
from django.utils import timezone

__all__ = ["due", "duration", "size"]

register = template.Library()


@register.filter
def size(count: int) -> str:
    """Return a number of bytes as text: "480 bytes", "1.3 kB", "20 MB". A kB has 1000 bytes."""
    if count < 1_000:
        return f"{count} bytes"
    number, unit = (count / 1_000, "kB") if count < 1_000_000 else (count / 1_000_000, "MB")
    return f"{number:,.1f} {unit}".replace(".0 ", " ")


@register.filter
def duration(length: timedelta) -> str:
    """Return a length of time in its largest unit: "4 s", "5 min", "24 h"."""
    seconds = length.total_seconds()
    for unit, unit_seconds in (("h", 3600), ("min", 60)):
        if seconds >= unit_seconds:
            return f"{seconds / unit_seconds:.0f}\N{NO-BREAK SPACE}{unit}"
    return f"{seconds:.0f}\N{NO-BREAK SPACE}s"


@register.filter
def due(moment: datetime) -> str:
    """Return when *moment* is: "in 4 s", or "due" if it has come. The relay looks every few seconds."""
    left = moment - timezone.now()
    return f"in {duration(left)}" if left >= timedelta(seconds=1) else "due"
