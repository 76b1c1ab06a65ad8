"""Check of the settings: ``ASYNC_ACCEPT`` has known keys only, and each value makes sense.

A value must have the type of its default. ``RULES`` has the settings for which the type says too little, such as a
choice of words.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core import checks
from django.utils.module_loading import import_string
from rest_framework.renderers import BaseRenderer, TemplateHTMLRenderer

from ..conf import DEFAULTS, LONGEST, conf
from ..http.throttling import PollThrottle
from ..models import ATTEMPTS_CEILING
from ..redaction import HIDDEN
from .messages import TAG, error, warning

__all__ = ["check_settings", "written"]


@checks.register(TAG)
def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """E002: an unknown key. E004: a value that makes no sense. W019: a relay that looks too seldom."""
    given = getattr(settings, "ASYNC_ACCEPT", {})
    if not isinstance(given, dict):
        return [
            error(2, "ASYNC_ACCEPT is not a dict.", 'ASYNC_ACCEPT = {"RESULT_LIFETIME": timedelta(days=1)}')
        ]
    unknown = [_unknown(name) for name in given if name not in DEFAULTS]
    # Values can be compared with each other only if each is valid.
    return [*unknown, *(list(_check_each()) or _check_together())]


def _unknown(name: Any) -> checks.CheckMessage:
    near = get_close_matches(str(name).upper(), DEFAULTS, n=1, cutoff=0.6)
    hint = f'Did you mean "{near[0]}"?' if near else f"Remove it. Known are: {', '.join(DEFAULTS)}."
    return error(2, f'ASYNC_ACCEPT has no setting "{name}".', hint)


def _check_each() -> Iterator[checks.CheckMessage]:
    for name, default in DEFAULTS.items():
        value = getattr(conf, name)
        is_valid, wanted = RULES.get(name) or _rule_of(default)
        if not _holds(is_valid, value):
            shown = HIDDEN if name == "MONITORING_TOKENS" else repr(value)
            yield error(
                4,
                f'ASYNC_ACCEPT["{name}"] is {shown}; it must be {wanted}.',
                f'"{name}": {written(default)},  # the default',
            )


def _check_together() -> Iterator[checks.CheckMessage]:
    if conf.HEARTBEAT * 3 > conf.LEASE:
        yield error(
            4,
            f"LEASE ({conf.LEASE}) is shorter than three heartbeats (HEARTBEAT is {conf.HEARTBEAT}): "
            "healthy jobs would be declared lost.",
            f'"LEASE": {written(min(conf.HEARTBEAT * 15, LONGEST))},',
        )
    if conf.RELAY_INTERVAL + conf.HEARTBEAT > conf.LEASE / 3:
        yield warning(
            19,
            f"The relay looks each {conf.RELAY_INTERVAL}, which is long for a LEASE of {conf.LEASE}: it may not notice "
            "that the database was away, and then healthy jobs would be declared lost.",
            f'"LEASE": {written(min((conf.RELAY_INTERVAL + conf.HEARTBEAT) * 4, LONGEST))},',
        )
    kept = max(conf.JOB_LIFETIME, conf.RESULT_LIFETIME)
    if kept < conf.IDEMPOTENCY_KEY_LIFETIME:
        yield error(
            4,
            f"IDEMPOTENCY_KEY_LIFETIME ({conf.IDEMPOTENCY_KEY_LIFETIME}) is longer than jobs are kept ({kept}): "
            "a key is deleted with its job, so a repeat after that would do the work again.",
            f'"IDEMPOTENCY_KEY_LIFETIME": {written(kept)},',
        )


def _holds(is_valid: Callable[[Any], bool], value: Any) -> bool:
    try:
        return bool(is_valid(value))
    except (
        AttributeError,
        ImportError,
        LookupError,
        TypeError,
        ValueError,
        re.error,
    ):  # a value of another type than the rule expects
        return False


def written(value: Any) -> str:
    """Return *value* as it is written in a settings file."""
    if isinstance(value, tuple) and value:
        return f"({', '.join(map(written, value))}{',' if len(value) == 1 else ''})"
    if not isinstance(value, timedelta):
        return repr(value)
    for unit in ("days", "hours", "minutes", "seconds"):
        count, rest = divmod(value, timedelta(**{unit: 1}))
        if count and not rest:
            return f"timedelta({unit}={count})"
    return repr(value).removeprefix("datetime.")


# --- Rules ---------------------------------------------------------------------------------------------

#: Whether a value is valid, and what it must be, in words.
Rule = tuple[Callable[[Any], bool], str]


def _whole(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_duration(value: Any) -> bool:
    return bool(timedelta() < value <= LONGEST)


def _rule_of(default: Any) -> Rule:
    """Return the rule for a setting by the type of its default."""
    match default:
        case bool():
            return lambda value: isinstance(value, bool), "True or False"
        case int():
            return _whole, "a whole number of at least 1"
        case float():
            return lambda value: not isinstance(value, bool) and value > 0, "a number above 0"
        case timedelta():
            return _is_duration, "a timedelta above 0, of at most 1000 years"
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


def _are_classes(value: Any) -> bool:
    """Whether *value* lists classes, or paths of classes that can be imported."""
    try:
        found = [import_string(item) if isinstance(item, str) else item for item in value]
    except ImportError:
        return False
    # REST framework's permissions may be combined: (IsAdminUser | IsOwner) can be called, and is no class.
    return isinstance(value, list | tuple) and all(map(callable, found))


#: For the classes of the jobs' URLs.
CLASSES: Rule = (
    lambda value: value is None or _are_classes(value),
    "a list of classes or of their dotted paths, or None",
)


#: For streams.
CAP: Rule = (
    lambda value: value is None or _whole(value, 0),
    "a whole number, or None; 0 for no streams",
)


def _is_renderer(value: Any) -> bool:
    kind = import_string(value) if isinstance(value, str) else value
    # A template belongs to a view.
    return issubclass(kind, BaseRenderer) and not issubclass(kind, TemplateHTMLRenderer)


def _is_rate(value: Any) -> bool:
    """Whether REST framework understands *value* as a rate: otherwise each poll would be a 500."""
    throttle = PollThrottle.__new__(PollThrottle)  # without its __init__(), which reads the setting
    number, _ = throttle.parse_rate(value)
    return number is None or number >= 1


RULES: dict[str, Rule] = {
    "AUTHENTICATION_CLASSES": CLASSES,
    "PERMISSION_CLASSES": CLASSES,
    "THROTTLE_CLASSES": CLASSES,
    "KEEP_HEADERS": (
        lambda value: (
            isinstance(value, list | tuple)
            and all(isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9-]+", name) for name in value)
        ),
        "a list of the names of headers, such as ['X-Tenant']",
    ),
    "ACCEPT_MODE": (
        lambda value: callable(value) or value in ("always", "prefer", "never"),
        "one of 'always', 'prefer', 'never', or a function of the request",
    ),
    "IDEMPOTENCY": _one_of("optional", "required", "ignored"),
    "WHEN_BROKER_DOWN": _one_of("accept", "refuse"),
    "UPLOAD_STORAGE": (lambda value: value in settings.STORAGES, "an alias in STORAGES"),
    "MAX_ATTEMPTS": (
        lambda value: _whole(value) and value <= ATTEMPTS_CEILING,
        f"a whole number, from 1 to {ATTEMPTS_CEILING}",
    ),
    "MAX_WAIT_SECONDS": (
        lambda value: not isinstance(value, bool) and value >= 0,
        "a number of seconds; 0 for no waiting",
    ),
    "MAX_STREAMS": CAP,
    "MAX_STREAMS_PER_CALLER": CAP,
    "MAX_WAITERS": (lambda value: _whole(value, 0), "a whole number; 0 for no waiting"),
    "REDACT_KEYS": (lambda value: re.compile(value) is not None, "a regular expression"),
    "RENDERER_CLASSES": (
        lambda value: all(map(_is_renderer, value)),
        "a list of renderer classes, or of their dotted paths",
    ),
    "RETRY_AFTER": (
        _is_retry_after,
        "pairs of (younger than, seconds to wait), the last one (None, seconds)",
    ),
    "OWN_PROBLEM_TYPE_BASE": (
        lambda value: value is None or (isinstance(value, str) and value != ""),
        "text, or None",
    ),
    "MONITORING_TOKENS": (
        lambda value: (
            isinstance(value, list | tuple)
            and all(isinstance(token, str) and re.fullmatch(r"[!-~]{16,}", token) for token in value)
        ),
        "a list of texts of at least 16 visible ASCII characters",
    ),
    "WORKER_METRICS_ADDRESS": (
        lambda value: value is None or re.fullmatch(r"\S+:\d{1,5}", value) is not None,
        "a host and a port, such as '127.0.0.1:9540', or None",
    ),
    "WEBHOOK_PORTS": (
        lambda value: value is None or all(_whole(port) and port < 65536 for port in value),
        "a list of ports, or None",
    ),
    "WEBHOOK_RETRY_DELAYS": (
        lambda value: isinstance(value, list | tuple) and all(map(_is_duration, value)),
        "a list of timedeltas above 0, of at most 1000 years",
    ),
    "POLL_RATE": (
        _is_rate,
        "a rate such as '120/min', for one of s, min, h and d, or None",
    ),
}
