"""The values of the label ``operation``: bounded, whatever operations a project has."""

from collections.abc import Iterable

__all__ = ["OTHER", "Operations", "first"]

#: How many operations have series of their own.
MOST = 50
#: The one name of all others.
OTHER = "other"


class Operations:
    """The operations that one process has met; the first ``MOST`` of them keep their names."""

    def __init__(self) -> None:
        self.named: set[str] = set()

    def label(self, operation: str) -> str:
        if operation not in self.named:
            if len(self.named) >= MOST:
                return OTHER
            self.named.add(operation)
        return operation


def first(operations: Iterable[str]) -> set[str]:
    """Return those of *operations* that keep their names where the counts of several processes are put together."""
    return set(sorted({*operations} - {OTHER})[:MOST]) | {OTHER}
