"""What Celery, its log and other processes may know of an error: its kind and its place, but not its message.

The error itself stays in the process that raised it.
"""

from traceback import walk_tb
from typing import Any

from ..exceptions import AttemptLost, NotKept, WorkEnded, WorkFailed
from ..problems import Problem, from_exception, is_unexpected

__all__ = ["Failure", "failure"]


class Failure(WorkFailed):
    """Carries an error, and the problem that it leaves, from the task to its backend.

    It cannot be pickled, so Celery passes on its base class, ``WorkFailed``, with the summary.
    """

    error: BaseException

    def __init__(self, summary: str, error: BaseException, document: Problem) -> None:
        super().__init__(summary)
        self.error = error
        self.document = document

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("An error stays in its process.")


class Ending(Failure, WorkEnded):
    """As ``Failure``, for an end that was wanted."""


def failure(error: BaseException) -> Failure:
    """Wrap what a task raised in an exception that tells its kind, and nothing of its message."""
    document = from_exception(error)
    # The one text that is told: it names an attribute of the request, and how to keep it.
    kind = f"NotKept: {error}" if isinstance(error, NotKept) else type(error).__name__
    if isinstance(error, AttemptLost):
        return Ending(kind, error, document)
    if is_unexpected(document):
        return Failure(f"{kind} in {_place(error)}, reference {document['reference']}", error, document)
    return Ending(f"{kind}, {document['code']}", error, document)


def _place(error: BaseException) -> str:
    """Return the module and line that raised *error*, without the source, which could repeat a secret."""
    place = "no code of ours"
    for frame, line in walk_tb(error.__traceback__):
        place = f"{frame.f_globals.get('__name__', '?')}:{line}"
    return place
