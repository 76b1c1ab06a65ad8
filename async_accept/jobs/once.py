"""Checks that are made once: what they returned when the request was accepted is what they return in the worker.

Calls are told apart by the function and by its arguments, as far as these are values: two fields, or two objects, are
two calls. A call that was not made at accept is made in the worker, so no check is left out.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar, cast

from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist
from django.core.files.base import File
from django.http import HttpRequest
from rest_framework.request import Request

from .. import encoding
from ..exceptions import Unencodable
from . import values

__all__ = ["Checks", "checks_of", "in_use", "once"]

Check = TypeVar("Check", bound=Callable[..., Any])


def once(check: Check) -> Check:
    """Let *check* run in the request only: a replayed view gets what it returned there, or what it did not raise.

    For a permission's method, a serializer's ``validate_…()`` method, a field's ``run_validation()``, or a validator.
    What it returns is stored with the job; it can be any value that is kept, and a row, which is loaded again. A
    request that is answered at once calls it as ever.

    Raises:
        ImproperlyConfigured: at accept, if what it returned cannot be kept; nothing is stored.
    """

    @wraps(check)
    def made_once(*args: Any, **kwargs: Any) -> Any:
        checks = _checks_for(args)
        return check(*args, **kwargs) if checks is None else checks.call(check, args, kwargs)

    return cast(Check, made_once)


class Checks:
    """The checks of one request.

    Args:
        kept: what they had returned, by call, if the request is a replay.
    """

    def __init__(self, kept: dict[str, Any] | None = None) -> None:
        self._kept = kept
        self._returned: dict[str, tuple[str, Any]] = {}

    def call(self, check: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Return what *check* has returned at accept; else call it, and remember what it returns."""
        key = _key(check, args, kwargs)
        if self._kept is not None and key in self._kept:
            try:
                return values.restore(self._kept[key])
            except ObjectDoesNotExist:
                return check(*args, **kwargs)
        returned = check(*args, **kwargs)
        self._returned[key] = check.__qualname__, returned
        return returned

    def keep(self) -> dict[str, Any]:
        """Return what the checks have returned, by call, in a form that JSON can hold.

        Raises:
            ImproperlyConfigured: something cannot be kept.
        """
        kept = {}
        for key, (name, returned) in self._returned.items():
            try:
                kept[key] = values.keep(returned)
                encoding.dumps(kept[key])
            except (ImproperlyConfigured, Unencodable) as error:
                raise ImproperlyConfigured(f"What {name}() returned cannot be kept. {error}") from error
        return kept


#: For code that has no request at hand, such as a serializer without a context.
_current: ContextVar[Checks | None] = ContextVar("async_accept_checks", default=None)


def checks_of(request: Any) -> Checks:
    """Return the checks of Django's *request*."""
    if not hasattr(request, "accept_checks"):
        request.accept_checks = Checks()
    return cast(Checks, request.accept_checks)


@contextmanager
def in_use(request: HttpRequest) -> Iterator[None]:
    """Let checks that know no request be those of *request*."""
    token = _current.set(checks_of(request))
    try:
        yield
    finally:
        _current.reset(token)


def _checks_for(args: Any) -> Checks | None:
    """Return the checks of the request that is among *args*, or in the context of a serializer among them."""
    for arg in args:
        context = getattr(arg, "context", None)
        request = context.get("request") if isinstance(context, dict) else arg
        request = getattr(request, "_request", request)
        if isinstance(request, HttpRequest):
            return checks_of(request)
    return _current.get()


def _key(check: Callable[..., Any], args: Any, kwargs: Any) -> str:
    told = [check.__module__, check.__qualname__, *map(_told, args), _told(kwargs)]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _told(value: Any) -> Any:
    """Return what tells *value* from another one in both processes: of an object that is no value, its class."""
    if isinstance(value, dict):
        return sorted((str(key), _told(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return [_told(item) for item in value]
    if isinstance(value, File):
        return [str(value.name), value.size]
    if isinstance(value, HttpRequest | Request):
        return "request"  # the worker has one of another class
    try:
        return repr(values.keep(value))
    except (ImproperlyConfigured, Unencodable):
        kind = type(value)
        # Of a field, which one; views and permissions have no such name.
        return [kind.__module__, kind.__qualname__, str(getattr(value, "field_name", ""))]
