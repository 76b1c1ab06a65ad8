"""Values in a job's row: kept as strict JSON, and restored equal and of the same type.

JSON's own values are stored as they are. Any other value becomes an object whose member ``TYPE`` says what it was. A
dict that has such a member itself is stored as pairs, so a client cannot send what looks like one. What could come back
as anything else is refused when the request is accepted. Files are left as they are: ``uploads`` keeps them.
"""

import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from importlib import import_module
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from operator import attrgetter
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from django.db.models import Model
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.encoding import force_str
from django.utils.functional import Promise, lazystr
from rest_framework.utils.serializer_helpers import ReturnDict, ReturnList

from ..encoding import DEPTH, SCALARS
from ..exceptions import Unencodable

__all__ = ["class_path", "keep", "load_class", "restore"]

#: The member that says what a value was: a name in ``KINDS``, or ``module:class``.
TYPE = "async_accept.type"
#: Members that begin with this are ours; see ``uploads.MARK``.
OURS = "async_accept."


def keep(value: Any) -> Any:
    """Return *value* in a form that strict JSON can hold; files stay what they are.

    Raises:
        ImproperlyConfigured: a value in it cannot be kept; the message names its class.
        Unencodable: it is nested too deeply, or contains itself.
    """
    try:
        return _keep(value)
    except RecursionError as error:
        raise Unencodable(f"The value is nested more than {DEPTH} levels deep.") from error


def restore(kept: Any) -> Any:
    """Return what ``keep()`` was given. Plain JSON is returned as it is."""
    if type(kept) is list:
        return [item if type(item) in SCALARS else restore(item) for item in kept]
    if type(kept) is not dict:
        return kept
    name = kept.get(TYPE)
    if name is None:
        return {key: item if type(item) in SCALARS else restore(item) for key, item in kept.items()}
    value = restore(kept["value"])
    return KINDS[name].restore(value) if name in KINDS else _instance(load_class(name), value)


def class_path(kind: type) -> str | None:
    """Return where to find the class *kind*, as ``module:class``; None if it is not there."""
    path = f"{kind.__module__}:{kind.__qualname__}"
    if kind.__module__ == "__main__":  # another one in the worker
        return None
    try:
        return path if attrgetter(kind.__qualname__)(sys.modules[kind.__module__]) is kind else None
    except (AttributeError, KeyError):
        return None


def load_class(path: str) -> Any:
    """Return the class at *path*.

    Raises:
        ImportError, AttributeError: it is gone.
    """
    module, _, name = path.partition(":")
    return attrgetter(name)(import_module(module))


def _keep(value: Any) -> Any:
    kind = type(value)
    if kind in SCALARS or isinstance(value, File):
        return value
    if kind in (list, ReturnList):
        return [item if type(item) in SCALARS else _keep(item) for item in value]
    if kind in (dict, ReturnDict) and _are_plain(value):
        return {key: item if type(item) in SCALARS else _keep(item) for key, item in value.items()}
    if isinstance(value, Promise):
        kind = Promise
    if isinstance(value, Model):
        return {TYPE: "model", "value": _keep(_row(value))}
    name = NAMES.get(kind)
    return _keep_instance(value) if name is None else {TYPE: name, "value": _keep(KINDS[name].keep(value))}


def _are_plain(keys: Iterable[Any]) -> bool:
    """Whether the keys of a dict can be those of a JSON object."""
    for key in keys:  # noqa: SIM110 # a generator costs as much as all the rest
        if type(key) is not str or key.startswith(OURS):
            return False
    return True


# --- What Python and Django bring -----------------------------------------------------------------------------


class Kind(NamedTuple):
    """How the values of exactly one type are kept: as what, and how they are made of that again."""

    type: type
    keep: Callable[[Any], Any]
    restore: Callable[[Any], Any]


def _naive(moment: datetime | time) -> list[Any]:
    return [moment.replace(tzinfo=None, fold=0).isoformat(), moment.tzinfo, moment.fold]


def _moment(kind: Any, parts: list[Any]) -> Any:
    text, zone, fold = parts
    return kind.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def _offset(zone: timezone) -> list[Any]:
    return list(zone.__getinitargs__())  # type: ignore[attr-defined]


def _zone_key(zone: ZoneInfo) -> str:
    if zone.key is None:
        raise _refusal(zone)
    return zone.key


def _sorted(items: Any) -> list[Any]:
    """Return the items of a set, in an order that does not depend on the process: repeats are compared."""
    return sorted(items, key=lambda item: (type(item).__name__, repr(item)))


# Each value in a list of its own: the fields of a form are stored so, too, and ``redaction`` knows that.
def _pairs(mapping: dict[Any, Any]) -> list[Any]:
    return [[key, [value]] for key, value in mapping.items()]


def _of_pairs(pairs: list[Any]) -> dict[Any, Any]:
    return {key: value for key, [value] in pairs}


def _lists(data: "MultiValueDict[Any, Any]") -> list[Any]:
    return [[key, data.getlist(key)] for key in data]


def _query(data: QueryDict) -> list[Any]:
    return [_lists(data), data.encoding, data._mutable]


def _of_query(parts: list[Any]) -> QueryDict:
    lists, encoding, mutable = parts
    data = QueryDict(mutable=True, encoding=encoding)
    for key, values in lists:
        data.setlist(key, values)
    data._mutable = mutable
    return data


def _row(instance: Model) -> list[Any]:
    if instance.pk is None or instance._state.adding:
        raise _refusal(instance)
    return [instance._meta.label, instance.pk, instance._state.db]


def _of_row(parts: list[Any]) -> Model:
    label, pk, using = parts
    found: Model = apps.get_model(label)._base_manager.using(using).get(pk=pk)
    return found


def _lazy_text(value: Any) -> str:
    if not hasattr(value, "casefold"):
        raise _refusal(value)  # a lazy number, say
    return force_str(value)


KINDS: dict[str, Kind] = {
    "decimal": Kind(Decimal, str, Decimal),
    "uuid": Kind(UUID, str, UUID),
    "bytes": Kind(bytes, lambda value: b64encode(value).decode(), b64decode),
    "datetime": Kind(datetime, _naive, partial(_moment, datetime)),
    "date": Kind(date, date.isoformat, date.fromisoformat),
    "time": Kind(time, _naive, partial(_moment, time)),
    "timedelta": Kind(
        timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: timedelta(*parts),
    ),
    "offset": Kind(timezone, _offset, lambda parts: timezone(*parts)),
    "zone": Kind(ZoneInfo, _zone_key, ZoneInfo),
    "tuple": Kind(tuple, list, tuple),
    "set": Kind(set, _sorted, set),
    "frozenset": Kind(frozenset, _sorted, frozenset),
    "dict": Kind(dict, _pairs, _of_pairs),
    "form": Kind(QueryDict, _query, _of_query),
    "lists": Kind(MultiValueDict, _lists, MultiValueDict),
    "model": Kind(Model, _row, _of_row),  # loaded again
    "lazy": Kind(Promise, _lazy_text, lazystr),
}
NAMES = {kind.type: name for name, kind in KINDS.items()}


# --- Classes of the project's, and of packages ----------------------------------------------------------------

#: Instances of these, and of their subclasses, are kept as what they extend or are made of. Only such classes are
#: called when a value is restored.
BASES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: lambda value: b"".join([value]),
    Decimal: Decimal,
    UUID: lambda value: UUID(int=value.int),
    datetime: lambda value: datetime.combine(date(*value.timetuple()[:3]), value.timetz()),
    date: lambda value: date.fromordinal(value.toordinal()),
    timedelta: lambda value: timedelta(value.days, value.seconds, value.microseconds),
    bytearray: bytes,
    **dict.fromkeys((Fraction, PurePath, IPv4Address, IPv4Network, IPv6Address, IPv6Network), str),
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    MultiValueDict: lambda value: MultiValueDict(_lists(value)),
    dict: dict,
}


def _keep_instance(value: Any) -> Any:
    """Return an instance of a class, kept by the path of that and by what it is made of.

    Raises:
        ImproperlyConfigured: what would be restored of that is something else.
    """
    kind = type(value)
    path = class_path(kind)
    if path is None or not _is_simple(kind):
        raise _refusal(value)
    parts = _parts(value)
    try:
        same = _is_same(_instance(kind, parts), value)
    except Exception:
        same = False
    if not same:
        raise _refusal(value)
    return {TYPE: path, "value": _keep(parts)}


def _is_simple(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, (*BASES, Enum, tzinfo)) or is_dataclass(kind))


def _parts(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "_fields"):  # a named tuple: under names, secrets can be hidden
        return dict(zip(value._fields, value, strict=True))
    if isinstance(value, tzinfo):
        return None
    base = next(base for base in BASES if isinstance(value, base))
    return BASES[base](value)


def _instance(kind: Any, parts: Any) -> Any:
    """Make an instance of *kind* of what ``_parts()`` has returned for one."""
    if not _is_simple(kind):
        raise ImproperlyConfigured(f"{kind!r} is not restored in the worker.")
    if issubclass(kind, tzinfo):
        return kind()
    if isinstance(parts, dict) and (is_dataclass(kind) or hasattr(kind, "_fields")):
        return kind(**parts)
    if isinstance(parts, datetime):
        # Python's combine() forgets the fold in a subclass.
        return kind.combine(parts.date(), parts.timetz()).replace(fold=parts.fold)
    if isinstance(parts, date):
        return kind.fromordinal(parts.toordinal())
    if isinstance(parts, timedelta):
        return kind(parts.days, parts.seconds, parts.microseconds)
    return kind(parts)


def _is_same(one: Any, other: Any) -> bool:
    told = [getattr(each, "__dict__", {}) for each in (one, other)]
    # Zones, and some dataclasses, have no equality but their identity.
    by_identity = getattr(type(other), "__eq__") is object.__eq__  # noqa: B009 mypy knows better
    return type(one) is type(other) and told[0] == told[1] and (by_identity or bool(one == other))


def _refusal(value: Any) -> ImproperlyConfigured:
    kind = type(value)
    return ImproperlyConfigured(
        f"A {kind.__module__}.{kind.__qualname__} cannot be kept for the worker: it would come back as something else. "
        "Give the worker what it is made of, such as a primary key or a text."
    )
