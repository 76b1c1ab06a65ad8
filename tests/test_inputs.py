"""What becomes of a request's data."""

from decimal import Decimal

import pytest

from async_accept.encoding import DEPTH, is_deep, plain
from tests.testapp.models import Note


def nested(depth, of=lambda inner: [inner]):
    value = 1
    for _ in range(depth):
        value = of(value)
    return value


@pytest.mark.parametrize(
    "of", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: {"a": [inner], "b": 1}]
)
def test_depth(of):
    step = 2 if isinstance(of(1), dict) and "b" in of(1) else 1
    assert not is_deep(nested(DEPTH // step, of))
    assert is_deep(nested(DEPTH // step + 1, of))
    assert is_deep(nested(100_000, of))


@pytest.mark.parametrize("data", [None, 1, "[[[", {}, [], {"a": "x" * 1000}])
def test_flat(data):
    assert not is_deep(data)


def test_plain():
    value = {"note": Note(pk=7), "price": [Decimal("1.50")], "pair": (1, {"x"})}
    assert plain(value) == {"note": 7, "price": ["1.50"], "pair": [1, ["x"]]}


@pytest.mark.django_db
def test_a_query_set_becomes_its_keys():
    note = Note.objects.create(slug="a", title="A")
    assert plain(Note.objects.all()) == [note.pk]
