"""Whether a task takes the keyword arguments that a job has for it."""

import inspect
from collections.abc import Mapping, Set
from functools import cache
from typing import Any

__all__ = ["check_arguments"]


def check_arguments(task: Any, kwargs: Any) -> None:
    """See that *task* takes these keyword arguments.

    Raises:
        TypeError: it does not; the text names the argument, and no value.
    """
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"a {type(kwargs).__name__} is no mapping of keyword arguments")
    signature, needed, known = _arguments(task.run)
    names = kwargs.keys()
    if "self" in names:
        raise TypeError("got multiple values for argument 'self'")  # of Celery's own Task.__call__()
    is_known = set(map(type, names)) <= {str} if known is None else names <= known
    if not (needed <= names and is_known):
        signature.bind(**kwargs)  # says what is wrong


@cache
def _arguments(run: Any) -> tuple[inspect.Signature, Set[Any], Set[str] | None]:
    """Return the signature of *run*, and the names of the arguments that it needs and knows; None: it knows any."""
    signature = inspect.signature(run)
    parameters = signature.parameters.values()
    named = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    needed: set[Any] = {each.name for each in named if each.default is each.empty}
    if any(each.kind == each.POSITIONAL_ONLY and each.default is each.empty for each in parameters):
        needed.add(object())  # no name can give it
    takes_any = any(each.kind == each.VAR_KEYWORD for each in parameters)
    return signature, needed, None if takes_any else {each.name for each in named}
