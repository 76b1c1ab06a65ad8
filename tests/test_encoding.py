"""Strict JSON: what is accepted can be read by everybody, and the rest is refused."""

import datetime
import json
import uuid
from collections import Counter, OrderedDict
from decimal import Decimal
from typing import NamedTuple

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import QueryDict
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from async_accept import encoding
from async_accept.exceptions import Unencodable
from tests.testapp.models import Note

#: Everything a text can hold, NUL and lone surrogates too.
ANY_TEXT = st.text(st.characters())
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=10,
)


def strict_loads(text):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@given(ANYTHING)
def test_what_is_accepted_loads_back_to_itself(value):
    try:
        text = encoding.dumps(value)
    except Unencodable:
        return
    assert "\0" not in text
    text.encode()
    loaded = strict_loads(text)
    assert encoding.dumps(loaded) == text
    assert encoding.loads(text) == loaded


@given(ANY_TEXT)
def test_a_text_is_refused_exactly_for_nul_and_lone_surrogates(text):
    bad = "\0" in text or any("\ud800" <= char <= "\udfff" for char in text)
    try:
        loaded = encoding.loads(encoding.dumps(text))
    except Unencodable:
        assert bad
    else:
        assert not bad
        assert loaded == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), {"a": [float("nan")]}])
def test_nan_and_infinity_are_refused(value):
    with pytest.raises(Unencodable):
        encoding.dumps(value)


@pytest.mark.parametrize("value", ["\0", "a\0b", "\\\0", {"\0": 1}, ["x", {"y": "\0"}], b"\0"])
def test_nul_is_refused_also_in_names(value):
    with pytest.raises(Unencodable, match="NUL"):
        encoding.dumps(value)


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "C:\\u0000\\x", "u0000"])
def test_a_literal_backslash_u0000_is_no_nul(text):
    assert encoding.loads(encoding.dumps(text)) == text


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, ["a\udc80"]])
def test_a_lone_surrogate_is_refused(value):
    with pytest.raises(Unencodable):
        encoding.dumps(value)


def test_a_circular_structure_is_refused():
    circle = []
    circle.append(circle)
    with pytest.raises(Unencodable):
        encoding.dumps(circle)


def nested(levels):
    value = "[{"
    for level in range(levels):
        value = [value] if level % 2 else {"x": value}
    return value


@pytest.mark.parametrize("levels", [encoding.DEPTH + 1, 500, 100_000])
def test_a_structure_too_deep_for_some_reader_is_refused(levels):
    """It would be a row that one process can write and another cannot read."""
    value = nested(levels)
    assert encoding.is_deep(value)
    with pytest.raises(Unencodable):
        encoding.dumps(value)


@pytest.mark.parametrize(
    ("wrap", "step"),
    [(lambda x: [x], 1), (lambda x: {"a": x}, 1), (lambda x: {"a": [x], "b": 1}, 2)],
    ids=["lists", "dicts", "both"],
)
def test_depth_counts_lists_and_dicts(wrap, step):
    value = 1
    for _ in range(encoding.DEPTH // step):
        value = wrap(value)
    assert not encoding.is_deep(value)
    assert encoding.is_deep(wrap(value))


def test_flat_data_is_not_deep():
    for data in (None, 1, "[[[", {}, [], {"a": "x" * 1000}):
        assert not encoding.is_deep(data), data


def test_a_wide_structure_is_not_deep():
    value = [nested(encoding.DEPTH - 1), *[{'["\\': ["]", '\\"[']}] * 1000]
    assert encoding.loads(encoding.dumps(value)) == value


@pytest.mark.parametrize(
    "value", [object(), {1, object()}, {(1, 2): 3}, 1j, Decimal("NaN"), datetime.time(1, tzinfo=datetime.UTC)]
)
def test_what_has_no_json_form_is_refused(value):
    with pytest.raises(Unencodable):
        encoding.dumps(value)


def test_the_message_does_not_tell_the_value():
    class Secret:
        def __repr__(self):
            return "hunter2"

    with pytest.raises(Unencodable) as caught:
        encoding.dumps({"x": Secret()})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.10"), "1.1"),  # serializers make text of their decimals before
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (datetime.date(2026, 1, 2), '"2026-01-02"'),
        (datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), '"2026-01-02T03:04:05Z"'),
        (datetime.timedelta(seconds=90), '"90.0"'),
        (gettext_lazy("accepted"), '"accepted"'),
        ((1, 2), "[1,2]"),
        ({"ä": "ß"}, '{"ä":"ß"}'),
        (b"abc", '"abc"'),
    ],
)
def test_values_look_as_the_rest_framework_renders_them(value, text):
    assert encoding.dumps(value) == text


@pytest.mark.parametrize(("text", "size"), [("abc", 3), ("ä", 2), ("😀", 4), ("", 0)])
def test_size_is_counted_in_utf8(text, size):
    assert encoding.size_bytes(text) == size


@given(ANY_TEXT)
def test_text_can_always_be_stored(value):
    encoding.dumps(encoding.text(value))


def test_text_is_cut():
    assert encoding.text("abcdef", 3) == "abc"
    assert encoding.text(5) == "5"


# --- Validated data on its way to a task ----------


class UserList(list):
    """A list of a project's own class."""


class Pair(NamedTuple):
    left: object
    right: object


def row(pk):
    note = Note(pk=pk)
    note._state.adding = False
    return note


def test_rows_become_their_keys_and_nothing_else_changes():
    value = {"note": row(7), "price": [Decimal("1.50")], "pair": (row(8), {"x"})}
    assert encoding.with_keys(value) == {"note": 7, "price": [Decimal("1.50")], "pair": (8, {"x"})}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            OrderedDict(note=row(7), deep=[OrderedDict(a=row(8))]),
            OrderedDict(note=7, deep=[OrderedDict(a=8)]),
        ),
        (Pair(row(7), "b"), Pair(7, "b")),
        (Counter({row(7): 2}), Counter({7: 2})),
        ({row(7): 1, 5: row(8)}, {7: 1, 5: 8}),
        (UserList([row(7)]), UserList([7])),
    ],
)
def test_rows_become_their_keys_in_subclasses_and_as_keys_too(value, expected):
    replaced = encoding.with_keys(value)
    assert (type(replaced), replaced) == (type(expected), expected)


def test_a_value_without_rows_stays_itself():
    for value in (OrderedDict(a=1), Pair(1, "b"), QueryDict("a=1&a=2"), Counter("aab")):
        assert encoding.with_keys(value) is value


@pytest.mark.parametrize("note", [Note(pk=7), Note()])
def test_a_row_that_is_not_saved_has_no_key(note):
    with pytest.raises(ImproperlyConfigured, match=r"testapp\.Note that is not saved"):
        encoding.with_keys({"note": [note]})


@pytest.mark.django_db
def test_a_query_set_becomes_its_keys():
    note = Note.objects.create(slug="a", title="A")
    assert encoding.with_keys(Note.objects.all()) == [note.pk]


@pytest.mark.django_db
def test_a_query_set_of_values_becomes_a_list_of_them():
    Note.objects.create(slug="a", title="A")
    notes = Note.objects.all()
    assert encoding.with_keys(notes.values("slug", "title")) == [{"slug": "a", "title": "A"}]
    assert encoding.with_keys(notes.values_list("slug", "title")) == [("a", "A")]
    assert encoding.with_keys({"slugs": notes.values_list("slug", flat=True)}) == {"slugs": ["a"]}
