"""Conditional requests (RFC 9110, section 13)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_accept.exceptions import PreconditionFailed
from async_accept.http.conditional import check_if_match, is_unchanged


@pytest.mark.parametrize("header", ['"a"', 'W/"a"', '"b", "a"', "*", ' "a" '])
def test_unchanged(header):
    assert is_unchanged(header, '"a"')
    assert is_unchanged(header, 'W/"a"')


@pytest.mark.parametrize("header", [None, "", '"b"', "a", '"A"', '"a', ","])
def test_changed(header):
    assert not is_unchanged(header, '"a"')


@pytest.mark.parametrize("header", [None, '"a"', '"b", "a"', "*"])
def test_the_named_version_may_be_changed(header):
    check_if_match(header, '"a"')
    check_if_match(header, '"x"', '"a"')


@pytest.mark.parametrize("header", ["", '"b"', 'W/"a"', "a", "garbage"])
def test_another_version_may_not(header):
    with pytest.raises(PreconditionFailed):
        check_if_match(header, '"a"')


def test_a_weak_tag_never_matches_strongly():
    with pytest.raises(PreconditionFailed):
        check_if_match('W/"a"', 'W/"a"')


@given(st.text())
def test_nothing_else_is_raised(header):
    is_unchanged(header, '"a"')
    with suppress(PreconditionFailed):
        check_if_match(header, '"a"')
