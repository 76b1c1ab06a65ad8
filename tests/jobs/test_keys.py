"""Keys: what is one, and which payloads are the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from async_accept.exceptions import IdempotencyKeyInvalid, Unencodable
from async_accept.jobs.keys import columns, fingerprint, parse_key

VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)


@given(VISIBLE.filter(lambda key: not key.startswith('"') and "," not in key))
def test_quoted_and_bare_are_the_same_key(key):
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert parse_key(key) == parse_key(quoted) == parse_key(f"  {key} ") == key


@given(st.text())
def test_anything_is_a_key_or_refused(header):
    try:
        key = parse_key(header)
    except IdempotencyKeyInvalid:
        return
    assert 1 <= len(key) <= 255
    assert all("!" <= character <= "~" for character in key)


@pytest.mark.parametrize("header", ['"a";b=1', '"a"; b'])
def test_parameters_are_not_part_of_the_key(header):
    assert parse_key(header) == "a"


@pytest.mark.parametrize(
    "header", ["", '""', "a b", '"a b"', '"a", "b"', "k" * 256, '"a', "\x7f", "é", '"a"b', "a,a", "a, a"]
)
def test_no_key(header):
    with pytest.raises(IdempotencyKeyInvalid):
        parse_key(header)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=32)), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=32)), JSON))
def test_the_order_of_members_does_not_matter(data):
    assert fingerprint(data) == fingerprint(dict(reversed(data.items())))


@pytest.mark.parametrize("kind", [set, frozenset])
def test_the_order_of_a_set_does_not_matter(kind):
    """It depends on the process; here on which of two colliding numbers came first."""
    one, other = kind([0, 8]), kind([8, 0])
    assert list(one) != list(other)
    assert fingerprint(["tags", {"all": one}]) == fingerprint(["tags", {"all": other}])


@pytest.mark.parametrize(
    ("one", "other"), [([1, 2], [2, 1]), ({"a": 1}, {"a": "1"}), ({"a": None}, {}), (1, True)]
)
def test_other_payloads_have_other_fingerprints(one, other):
    assert fingerprint(one) != fingerprint(other)


def test_what_cannot_be_stored_has_none():
    with pytest.raises(Unencodable):
        fingerprint({"a": float("nan")})


def keyed(**changes):
    options = {"key": "k", "caller": 1, "method": "POST", "route": "/a/", "payload": {}}
    return columns(**options | changes)["idempotency_key"]


def test_scope():
    assert keyed() == keyed()
    assert keyed() == keyed(payload={"x": 1})  # the same key: the payload is compared, and refused
    others = [{"caller": 2}, {"method": "PUT"}, {"route": "/b/"}, {"key": "l"}, {"caller": None}]
    assert len({keyed(), *(keyed(**other) for other in others)}) == 6
    assert keyed(caller=None) != keyed(caller=None, payload={"x": 1})
