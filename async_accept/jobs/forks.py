"""What must begin anew in a forked process.

A child gets a copy of its parent's memory, but of its threads only the one that forked. A thread that no longer runs, a
lock that nobody releases and a connection that two processes write to are of no use there.
"""

import os
from collections.abc import Callable
from weakref import WeakMethod

__all__ = ["call_after_fork"]

_methods: set[WeakMethod[Callable[[], object]]] = set()


def call_after_fork(method: Callable[[], object]) -> None:
    """Call *method*, bound to an object, in each process that is forked from now on, as long as the object lives."""
    _methods.add(WeakMethod(method, _methods.discard))


def _call_methods() -> None:
    for weak in list(_methods):
        method = weak()
        if method is not None:
            method()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_call_methods)
