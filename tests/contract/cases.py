"""The shared case: every kind of view that accepts, with good input, bad input, and the answer it gives later."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.testapp.models import Note


@dataclass(frozen=True)
class Case:
    """One kind of view under ``/api/policies/<policy>/``."""

    method: str
    path: str
    data: Any
    #: Input that is refused; None where there is nothing to refuse.
    bad: Any
    #: What follows at R.
    status: int
    #: A part of the answer's body.
    body: Any = None

    @property
    def needs_note(self) -> bool:
        return "{pk}" in self.path

    @property
    def is_wrapped(self) -> bool:
        """Whether accepting surrounds the whole view, not only a handler inside REST framework's own view."""
        return self.path not in ("method/", "function/", "function-task/")

    def url(self, policy: str = "always") -> str:
        """Return the path, after making the object that it is about."""
        pk = (
            Note.objects.get_or_create(slug="there", defaults={"title": "quiet"})[0].pk
            if self.needs_note
            else 0
        )
        return f"/api/policies/{policy}/{self.path.format(pk=pk)}"


NOTE = {"slug": "new", "title": "New", "price": "1.50"}
BAD_NOTE = {"slug": "not a slug"}
SUM, BAD_SUM = {"x": 3, "y": 4}, {"x": -1}

CASES = {
    "create": Case("POST", "notes/", NOTE, BAD_NOTE, 201, {"slug": "new", "price": "1.50"}),
    "update": Case("PUT", "notes/{pk}/", NOTE, BAD_NOTE, 200, {"slug": "new"}),
    "partial_update": Case("PATCH", "notes/{pk}/", {"title": "Newer"}, BAD_NOTE, 200, {"title": "Newer"}),
    "destroy": Case("DELETE", "notes/{pk}/", None, None, 204),
    "action": Case("POST", "notes/{pk}/shout/", {"times": 1}, {"times": 0}, 200, {"title": "QUIET"}),
    "class": Case("POST", "class/", SUM, BAD_SUM, 201, {"sum": 7}),
    "class-task": Case("POST", "class-task/", SUM, BAD_SUM, 200, 7),
    "method": Case("POST", "method/", SUM, BAD_SUM, 200, {"product": 12}),
    "function": Case("POST", "function/", SUM, BAD_SUM, 200, {"product": 12}),
    "function-whole": Case("POST", "function-whole/", SUM, BAD_SUM, 200, {"product": 12}),
    "function-task": Case("POST", "function-task/", SUM, BAD_SUM, 200, 7),
}

every_view = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_view_with_input = pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if case.bad is not None],
    ids=[k for k, c in CASES.items() if c.bad],
)
