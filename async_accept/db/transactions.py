"""Doing something once the caller's transaction is committed, and never at the cost of the caller."""

from collections.abc import Callable
from typing import Any

from django.db import transaction

__all__ = ["after_commit"]


def after_commit(do: Callable[..., object], *args: Any, using: str | None = None, **kwargs: Any) -> None:
    """Call *do* with the arguments after the commit, at once where no transaction is open.

    Its exceptions are logged by Django (``on_commit(robust=True)``).
    """

    def call() -> None:
        do(*args, **kwargs)

    # Django names it in its log; a functools.partial has no such name, and would fail there.
    call.__qualname__ = getattr(do, "__qualname__", type(do).__qualname__)
    transaction.on_commit(call, using=using, robust=True)
