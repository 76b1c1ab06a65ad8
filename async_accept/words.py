"""Text of whatever a person has passed as text."""

from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

__all__ = ["words"]


def words(value: Any) -> str:
    """Return what a person may have passed as text: lazy text, bytes, an exception, None for none.

    It never fails because of *value*: an object that cannot say itself is named by its class.
    """
    if type(value) is str:
        return value
    if value is None:
        return ""
    try:
        return value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)
    except SoftTimeLimitExceeded:
        raise
    except Exception:
        return type(value).__name__
