"""``Prefer`` is parsed as RFC 7240 says, and nothing in it is an error."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_accept.http.prefer import Preferences, parse, seconds


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # RFC 7240, section 2 and its examples
        ("foo; bar", Preferences()),
        ('foo; bar=""', Preferences()),
        ("respond-async, wait=10", Preferences(respond_async=True, wait_seconds=10)),
        ("respond-async; wait=10", Preferences(respond_async=True)),  # a parameter is no preference
        ('respond-async=""', Preferences(respond_async=True)),
        ("Respond-ASYNC , WAIT = 7", Preferences(respond_async=True, wait_seconds=7)),
        ("wait=1, wait=2", Preferences(wait_seconds=1)),
        ("return=minimal, return=representation", Preferences(minimal=True)),
        ("return=representation, return=minimal", Preferences()),
        ('return="minimal"', Preferences(minimal=True)),
        ('x="a, respond-async, b", wait=3', Preferences(wait_seconds=3)),
        (r'x="a\", respond-async", wait="3"', Preferences(wait_seconds=3)),
        ("wait=1.5", Preferences()),
        ("wait=-1", Preferences()),
        ("wait=9999999999", Preferences(wait_seconds=10**9)),
        ("wait=" + "9" * 4000, Preferences(wait_seconds=10**9)),
        ("wait=0000000000007", Preferences(wait_seconds=7)),
        ("wait", Preferences()),
        ("respond-async=true", Preferences()),
        (",,,;=;,", Preferences()),
        ("", Preferences()),
        (None, Preferences()),
        ("x" * 5000 + ", respond-async", Preferences()),
    ],
)
def test_examples(header, expected):
    assert parse(header) == expected


def test_the_time_grows_with_the_length_and_not_with_its_square():
    """Anybody may send this. With the square, these hundred took twenty seconds."""
    began = time.process_time()
    for _ in range(100):
        assert parse("a=" + " " * 4000 + "(") == Preferences()
    assert time.process_time() - began < 5


@given(st.text())
def test_nothing_raises(header):
    found = parse(header)
    assert found.wait_seconds is None or found.wait_seconds >= 0


@given(st.text(alphabet='respond-async, wait=0123"\\; \t', max_size=300))
def test_text_that_resembles_a_header_does_not_raise(header):
    parse(header)


@given(st.integers(0, 999_999_999), st.sampled_from(["", "foo, ", 'a="b,c" , ', ",,"]))
def test_wait_is_found_at_any_place(number, before):
    assert parse(f"{before}wait={number}").wait_seconds == number


@pytest.mark.parametrize("text", [None, "", " 1", "1 ", "+1", "1e3", "٣", "1_0"])
def test_no_number_of_seconds(text):
    assert seconds(text) is None
