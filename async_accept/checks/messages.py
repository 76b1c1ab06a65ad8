"""What the checks and the doctor report: a message, and a hint. If one line solves the problem, the hint is that line.

A system check has a stable id. A finding of the doctor has a level and a subject.
"""

from typing import Any, NamedTuple

from django.core import checks

__all__ = ["TAG", "Finding", "error", "fail", "ok", "warn", "warning"]

#: ``manage.py check --tag async_accept``
TAG = "async_accept"


def error(number: int, message: str, hint: str, obj: Any = None) -> checks.Error:
    """Return the error ``async_accept.E<number>``."""
    return checks.Error(message, hint=hint, obj=obj, id=f"async_accept.E{number:03}")


def warning(number: int, message: str, hint: str, obj: Any = None) -> checks.Warning:
    """Return the warning ``async_accept.W<number>``."""
    return checks.Warning(message, hint=hint, obj=obj, id=f"async_accept.W{number:03}")


class Finding(NamedTuple):
    """One line of the doctor's report."""

    level: str  # "ok", "warn" or "fail"
    subject: str
    message: str
    #: What to do about it; empty if all is well.
    hint: str = ""


def ok(subject: str, message: str) -> Finding:
    """Return a finding: *subject* works."""
    return Finding("ok", subject, message)


def warn(subject: str, message: str, hint: str) -> Finding:
    """Return a finding: a 202 would be kept, but *subject* should be looked at."""
    return Finding("warn", subject, message, hint)


def fail(subject: str, message: str, hint: str) -> Finding:
    """Return a finding: because of *subject* a 202 would not be kept."""
    return Finding("fail", subject, message, hint)
