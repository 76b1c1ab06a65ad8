"""The ``Prefer`` request header (RFC 7240), read as the RFC says.

Ours, because the generic parsers get two of its rules wrong: names are case-insensitive, and of a repeated preference
the first one counts. What is malformed or unknown is ignored, never an error.
"""

import re
from typing import NamedTuple

__all__ = ["Preferences", "parse"]

# One preference of the list: commas inside quoted strings do not separate.
_PART = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# No two parts that match the same text stand side by side: the time grows with the length, not with its square.
_PREFERENCE = re.compile(
    rf'\s*({_NAME})\s*(?:=\s*(?:(?:"((?:[^"\\]|\\.)*)"|({_NAME}))\s*)?)?(?:;|$)', re.DOTALL
)
# Longer headers are nobody's preference.
_LONGEST = 4096
# What has more digits is capped all the same.
_DIGITS = 9


class Preferences(NamedTuple):
    """What the client prefers.

    ``wait_seconds`` is a whole number of seconds; None where it was not asked for.
    """

    respond_async: bool = False
    wait_seconds: int | None = None
    minimal: bool = False


def parse(header: str | None) -> Preferences:
    """Return the preferences in *header*: all lines of ``Prefer``, joined by commas."""
    if not header or len(header) > _LONGEST:
        return Preferences()
    found: dict[str, str] = {}
    for part in _PART.findall(header):
        if match := _PREFERENCE.match(part):
            name, quoted, token = match.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token or ""
            found.setdefault(name.lower(), value)
    return Preferences(
        # Its value, if any, is empty (RFC 7240, section 4.1).
        respond_async=found.get("respond-async") == "",
        wait_seconds=seconds(found.get("wait")),
        minimal=found.get("return", "").lower() == "minimal",
    )


def seconds(text: str | None) -> int | None:
    """Return *text* as a whole number of seconds; None where it is not one."""
    if not text or not (text.isascii() and text.isdecimal()):
        return None
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS
