"""How the checks say what they found: stable ids, and a hint that can be pasted."""

from typing import Any

from django.core import checks

__all__ = ["TAG", "error", "warning"]

#: ``manage.py check --tag async_accept``
TAG = "async_accept"


def error(number: int, message: str, hint: str, obj: Any = None) -> checks.Error:
    """Return the error ``async_accept.E<number>``."""
    return checks.Error(message, hint=hint, obj=obj, id=f"async_accept.E{number:03}")


def warning(number: int, message: str, hint: str, obj: Any = None) -> checks.Warning:
    """Return the warning ``async_accept.W<number>``."""
    return checks.Warning(message, hint=hint, obj=obj, id=f"async_accept.W{number:03}")
