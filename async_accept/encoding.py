"""Strict JSON: every JSON parser and every database can read what we store.

Values are encoded as Django REST framework encodes them (Decimal, UUID, dates, lazy text). Some values are refused, not
repaired: NaN and infinity (RFC 8259, section 6), NUL characters (PostgreSQL cannot store them), lone surrogates (UTF-8
has none), and values that are nested too deeply for some readers.
"""

import json
import re
from copy import copy
from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.utils.datastructures import MultiValueDict

from .exceptions import Unencodable

__all__ = [
    "SCALARS",
    "Encoded",
    "canonical",
    "check",
    "dumps",
    "is_deep",
    "loads",
    "size_bytes",
    "text",
    "with_keys",
]

loads = json.loads

# An escaped NUL: an odd number of backslashes before "u0000".
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))

#: The deepest nesting that is stored. How deep a value a process can read depends on its stack. Without a bound, a web
#: process could write a row that a worker or a relay cannot read.
DEPTH = 200


#: What most values in a document are. A walk passes them by without a call, because each input is walked several times.
SCALARS = frozenset({str, int, float, bool, type(None)})


class Encoded(str):
    """JSON text of ``dumps()``: a column stores it as it is."""

    __slots__ = ()


def dumps(value: Any) -> str:
    """Encode *value* as compact JSON text.

    Raises:
        Unencodable: NaN, infinity, NUL, a lone surrogate, a circular or too deep structure, or an object
            that has no JSON form.
    """
    try:
        text = _encoder().encode(value)
        if "\\u0000" in text and _NUL.search(text):
            raise Unencodable("The value contains a NUL character.")
        if _is_deep_json(text):
            raise Unencodable(f"The value is nested more than {DEPTH} levels deep.")
        text.encode()
    except Unencodable:
        raise
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        raise Unencodable(f"The value has no JSON form ({type(error).__name__}).") from error
    return text


@cache
def _encoder() -> json.JSONEncoder:
    from rest_framework.utils.encoders import JSONEncoder  # needs configured settings

    return JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def check(text: str) -> None:
    """Refuse JSON text that ``dumps()`` would not have written; its form is free, such as its indentation.

    Raises:
        JSONDecodeError: it is no JSON.
        Unencodable: NaN, infinity, NUL, a lone surrogate, or a too deep structure.
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise Unencodable(f"The value is nested more than {DEPTH} levels deep.") from error
    if _is_deep_json(text):
        raise Unencodable(f"The value is nested more than {DEPTH} levels deep.")
    if "\\u0000" in text and _NUL.search(text):
        raise Unencodable("The value contains a NUL character.")
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise Unencodable("The value contains a lone surrogate.") from error


def _refuse(constant: str) -> None:
    raise Unencodable(f"JSON has no {constant}.")


def _is_deep_json(text: str) -> bool:
    if text.count("[") + text.count("{") <= DEPTH:
        return False
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    outside_strings = "".join(text.split('"')[::2])
    brackets = outside_strings.encode().translate(_TO_SQUARE, _NO_BRACKET)
    for _ in range(DEPTH):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")  # removes the innermost level
    return bool(brackets)


def canonical(value: Any) -> Any:
    """Return *value* with the members of objects and sets sorted, so that equal values have equal JSON.

    The order of a set depends on the process.

    Raises:
        Unencodable: an item of a set has no strict JSON form.
    """
    if isinstance(value, dict):
        in_order = ((key, value[key]) for key in sorted(value, key=str))
        return {key: item if type(item) in SCALARS else canonical(item) for key, item in in_order}
    if isinstance(value, list | tuple):
        return [item if type(item) in SCALARS else canonical(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(canonical, value), key=dumps)
    return value


def text(value: object, limit: int | None = None) -> str:
    """Return *value* as text that can be stored: no NUL, lone surrogates replaced, cut to *limit* characters."""
    return str(value).replace("\0", "").encode(errors="replace").decode()[:limit]


def size_bytes(text: str) -> int:
    """Return the size of *text* in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def is_deep(data: Any) -> bool:
    """Whether *data* is nested too deeply to be stored. It goes level by level, so that no depth breaks it."""
    level = [data]
    for _ in range(DEPTH + 1):
        deeper: list[Any] = []
        for value in level:
            if type(value) in SCALARS:
                continue
            if isinstance(value, dict):
                deeper.extend(value.values())
            elif isinstance(value, list | tuple | set | frozenset):
                deeper.extend(value)
        if not deeper:
            return False
        level = deeper
    return True


def with_keys(value: Any) -> Any:
    """Replace model instances in dicts, lists, tuples and sets by their primary keys, query sets by lists.

    Subclasses stay what they are, such as ``OrderedDict`` and named tuples; keys of dicts are replaced as well.

    Raises:
        ImproperlyConfigured: an instance is not saved, so that its key would lead to no row.
    """
    kind = type(value)
    if kind in SCALARS:
        return value
    if kind is dict:
        return {
            key if type(key) is str else with_keys(key): item if type(item) in SCALARS else with_keys(item)
            for key, item in value.items()
        }
    if kind in (list, tuple, set, frozenset):
        return kind(map(with_keys, value))
    if isinstance(value, models.QuerySet):  # of rows, or of what values() and values_list() make
        return [with_keys(item) for item in value]
    if isinstance(value, models.Model):
        return _key(value)
    if isinstance(value, dict | list | tuple | set | frozenset) and not isinstance(value, MultiValueDict):
        return _of_its_kind(value)
    return value


def _key(instance: models.Model) -> Any:
    if instance.pk is None or instance._state.adding:
        raise ImproperlyConfigured(
            f"A {instance._meta.label} that is not saved has no primary key which a worker could find it by. "
            "Save it first, or give the worker what it is made of."
        )
    return instance.pk


def _of_its_kind(value: Any) -> Any:
    """Return *value*, an instance of a subclass, with keys in the place of rows; itself if there are none."""
    replaced: Any
    if isinstance(value, dict):
        replaced = with_keys(dict(value))
        same = replaced.keys() == value.keys() and all(replaced[key] is value[key] for key in replaced)
    else:
        replaced = [with_keys(item) for item in value]
        same = all(one is other for one, other in zip(replaced, value, strict=True))
    if same:
        return value
    if isinstance(value, dict | list):
        made = copy(value)
        made.clear()
        (made.update if isinstance(made, dict) else made.extend)(replaced)
        return made
    return value._make(replaced) if hasattr(value, "_make") else type(value)(replaced)
