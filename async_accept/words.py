"""Any value as text: lazy text, bytes, an exception."""

from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

__all__ = ["words"]


def words(value: Any) -> str:
    """Return *value* as text, whatever it is: lazy text, bytes or an exception; "" for None.

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
