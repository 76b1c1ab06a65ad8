"""Which values of ``ASYNC_ACCEPT`` make sense; the system checks tell about the others.

A value must be of its default's kind. What a default cannot tell, such as a choice of words, stands in ``RULES``.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, NamedTuple

from django.conf import settings
from django.core import checks

from ..conf import DEFAULTS, conf
from .messages import TAG, error

__all__ = ["Complaint", "complaints", "unknown_names", "written"]


class Complaint(NamedTuple):
    """What is wrong with one setting, and a line that mends it."""

    name: str
    message: str
    hint: str


def unknown_names() -> Iterator[Complaint]:
    """Tell of the keys of ``ASYNC_ACCEPT`` that nobody reads."""
    for name in getattr(settings, "ASYNC_ACCEPT", {}):
        if name in DEFAULTS:
            continue
        near = get_close_matches(str(name).upper(), DEFAULTS, n=1, cutoff=0.6)
        hint = f'Did you mean "{near[0]}"?' if near else f"Remove it. Known are: {', '.join(DEFAULTS)}."
        yield Complaint(str(name), f'ASYNC_ACCEPT has no setting "{name}".', hint)


def complaints() -> Iterator[Complaint]:
    """Tell of the values that make no sense, each by itself, then together."""
    sound = True
    for name, default in DEFAULTS.items():
        value = getattr(conf, name)
        fits, wanted = RULES.get(name) or _kind(default)
        if not _holds(fits, value):
            sound = False
            yield Complaint(
                name,
                f'ASYNC_ACCEPT["{name}"] is {value!r}; it must be {wanted}.',
                f'"{name}": {written(default)},  # the default',
            )
    if sound:
        yield from _together()


def _together() -> Iterator[Complaint]:
    if conf.HEARTBEAT * 3 > conf.LEASE:
        yield Complaint(
            "LEASE",
            f"LEASE ({conf.LEASE}) is shorter than three heartbeats (HEARTBEAT is {conf.HEARTBEAT}): "
            "healthy jobs would be taken for lost.",
            f'"LEASE": {written(conf.HEARTBEAT * 15)},',
        )
    if conf.DISPATCH_STEP > conf.DISPATCH_STEP_MAX:
        yield Complaint(
            "DISPATCH_STEP_MAX",
            f"DISPATCH_STEP_MAX ({conf.DISPATCH_STEP_MAX}) is shorter than DISPATCH_STEP ({conf.DISPATCH_STEP}).",
            f'"DISPATCH_STEP_MAX": {written(conf.DISPATCH_STEP * 360)},',
        )
    kept = max(conf.JOB_LIFETIME, conf.RESULT_LIFETIME)
    if kept < conf.IDEMPOTENCY_KEY_LIFETIME:
        yield Complaint(
            "IDEMPOTENCY_KEY_LIFETIME",
            f"IDEMPOTENCY_KEY_LIFETIME ({conf.IDEMPOTENCY_KEY_LIFETIME}) is longer than jobs are kept ({kept}): a key "
            "goes with its job, so a repeat after that would do the work again.",
            f'"IDEMPOTENCY_KEY_LIFETIME": {written(kept)},',
        )


def _holds(fits: Callable[[Any], bool], value: Any) -> bool:
    try:
        return bool(fits(value))
    except (LookupError, TypeError, ValueError, re.error):
        return False


def written(value: Any) -> str:
    """Return *value* as it is written in a settings file."""
    if not isinstance(value, timedelta):
        return repr(value)
    for unit, seconds in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        count, rest = divmod(value.total_seconds(), seconds)
        if count and not rest:
            return f"timedelta({unit}={count:g})"
    return f"timedelta(seconds={value.total_seconds():g})"


# --- Rules ---------------------------------------------------------------------------------------------

Rule = tuple[Callable[[Any], bool], str]


def _whole(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _kind(default: Any) -> Rule:
    """Return the rule that a default makes."""
    match default:
        case bool():
            return lambda value: isinstance(value, bool), "True or False"
        case int():
            return _whole, "a whole number of at least 1"
        case float():
            return lambda value: not isinstance(value, bool) and value > 0, "a number above 0"
        case timedelta():
            return lambda value: value > timedelta(), "a timedelta above 0"
        case None:
            return lambda value: value is None or _whole(value), "a whole number of at least 1, or None"
        case str():
            return lambda value: isinstance(value, str) and value != "", "text"
    return lambda value: True, ""


def _one_of(*words: str) -> Rule:
    return lambda value: value in words, f"one of {', '.join(map(repr, words))}"


def _is_retry_after(value: Any) -> bool:
    ages = [age for age, _ in value]
    bounds = ages[:-1]
    return (
        ages[-1] is None
        and all(_whole(seconds) for _, seconds in value)
        and bounds == sorted(bounds)
        and all(age > 0 for age in bounds)
    )


RULES: dict[str, Rule] = {
    "ACCEPT_MODE": (
        lambda value: callable(value) or value in ("always", "prefer", "never"),
        "one of 'always', 'prefer', 'never', or a function of the request",
    ),
    "IDEMPOTENCY": _one_of("optional", "required", "ignored"),
    "WHEN_BROKER_DOWN": _one_of("accept", "refuse"),
    "BROKER_PAUSE": (lambda value: value >= timedelta(), "a timedelta"),
    "UPLOAD_STORAGE": (lambda value: value in settings.STORAGES, "an alias in STORAGES"),
    "MAX_WAIT_SECONDS": (
        lambda value: not isinstance(value, bool) and value >= 0,
        "a number of seconds; 0 for no waiting",
    ),
    "MAX_WAITERS": (lambda value: _whole(value, 0), "a whole number; 0 for no waiting"),
    "REDACT_KEYS": (lambda value: re.compile(value) is not None, "a regular expression"),
    "RETRY_AFTER": (
        _is_retry_after,
        "pairs of (younger than, seconds to wait), the last one (None, seconds)",
    ),
    "POLL_RATE": (
        lambda value: value is None or re.fullmatch(r"[1-9]\d*/\d*[smhd]\w*", value) is not None,
        "a rate such as '120/min', or None",
    ),
}


@checks.register(TAG)
def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """E002: an unknown key. E004: a value that makes no sense."""
    if not isinstance(getattr(settings, "ASYNC_ACCEPT", {}), dict):
        return [error(2, "ASYNC_ACCEPT is no dict.", 'ASYNC_ACCEPT = {"RESULT_LIFETIME": timedelta(days=1)}')]
    return [
        *(error(2, found.message, found.hint) for found in unknown_names()),
        *(error(4, found.message, found.hint) for found in complaints()),
    ]
