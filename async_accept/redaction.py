"""Hides secrets in stored data before somebody sees it. The name of a key decides, at every depth of the data."""

import re
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode

from .conf import conf

__all__ = ["HIDDEN", "redact", "redact_query", "redact_text", "redact_url"]

#: Shown in place of a secret.
HIDDEN = "••••••"
#: The user and password in a URL, and a password as connection strings and drivers write it.
CREDENTIALS = re.compile(
    r"""(?<=://)[^\s/@'":]*:[^\s/'"]*(?=@)|(?<=password=)(?:'[^']*'|"[^"]*"|[^\s,;&)]+)""", re.IGNORECASE
)


def redact(value: Any) -> Any:
    """Return a copy of a JSON *value*, with each value hidden whose key matches ``REDACT_KEYS``."""
    return _redact(value, re.compile(conf.REDACT_KEYS))


def redact_query(query: str) -> str:
    """Return a query string, with each value hidden whose key matches ``REDACT_KEYS``."""
    pattern = re.compile(conf.REDACT_KEYS)
    pairs = parse_qsl(query, keep_blank_values=True)
    hidden = [(key, HIDDEN if pattern.search(key) else value) for key, value in pairs]
    return urlencode(hidden).replace(quote_plus(HIDDEN), HIDDEN) if hidden != pairs else query


def redact_url(url: str) -> str:
    """Return a URL without its credentials, and with each such value of its query and its fragment hidden."""
    main, hash_mark, fragment = redact_text(url).partition("#")
    path, question_mark, query = main.partition("?")
    return f"{path}{question_mark}{redact_query(query)}{hash_mark}{redact_query(fragment)}"


def redact_text(text: str) -> str:
    """Return *text*, such as a traceback, without the credentials in URLs and connection strings."""
    return CREDENTIALS.sub(HIDDEN, text)


def _redact(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, dict):
        return {
            key: HIDDEN if _hides(pattern, key, inner) else _redact(inner, pattern)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        # The fields of a form are stored as pairs: a name and a list of values.
        if len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], list):
            return [value[0], HIDDEN if pattern.search(value[0]) else _redact(value[1], pattern)]
        return [_redact(item, pattern) for item in value]
    return value


def _hides(pattern: re.Pattern[str], key: str, inner: Any) -> bool:
    """Whether *key* hides *inner*. An empty value is shown: it is no secret, and it helps to see that it is empty."""
    return inner not in (None, "") and pattern.search(key) is not None
