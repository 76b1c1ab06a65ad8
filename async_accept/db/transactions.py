"""What waits for the commit of the caller's transaction, and which connections are in one."""

from collections.abc import Callable
from typing import Any

from django.db import connections, transaction

__all__ = ["after_commit", "close_connections", "left_open"]


def after_commit(do: Callable[..., object], *args: Any, using: str | None = None, **kwargs: Any) -> None:
    """Call *do* with the arguments after the commit; at once if no transaction is open.

    Its exceptions never reach the caller: Django logs them (``on_commit(robust=True)``).
    """

    def call() -> None:
        do(*args, **kwargs)

    # Django's log names the callback by this attribute, which a functools.partial does not have.
    call.__qualname__ = getattr(do, "__qualname__", type(do).__qualname__)
    transaction.on_commit(call, using=using, robust=True)


def left_open() -> list[Any]:
    """Return the connections of this thread on which something was begun that has not ended."""
    return [
        each
        for each in connections.all(initialized_only=True)
        if each.connection is not None and _is_open(each)
    ]


def _is_open(connection: Any) -> bool:
    return bool(connection.in_atomic_block or connection.autocommit != connection.settings_dict["AUTOCOMMIT"])


def close_connections() -> None:
    """Close this thread's connections to databases, except those in a transaction, such as that of a test."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
