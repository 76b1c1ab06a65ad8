"""The JSON column: what goes in comes out, in the same order."""

import pytest
from django.core import serializers
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from async_accept.exceptions import Unencodable
from async_accept.models import Job
from async_accept.testing import make_job

pytestmark = pytest.mark.django_db

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
def test_any_json_value_comes_back_as_it_was(db, value):
    job = make_job(input=value)
    assert job.input == value
    Job.objects.all().delete()


def test_the_order_of_members_is_kept():
    job = make_job(input={"b": 1, "a": 2, "aa": 3})
    assert list(job.input) == ["b", "a", "aa"]


def test_a_number_keeps_its_digits():
    assert str(make_job(input=1.10e-7).input) == "1.1e-07"
    assert make_job(input=2**70).input == 2**70


def test_none_is_null_in_the_database():
    make_job(input=None)
    assert Job.objects.filter(input__isnull=True).exists()


@pytest.mark.parametrize("text", ["null", "", "\\u0000", "😀", "a\nb"])
def test_text_is_not_mistaken_for_something_else(text):
    assert make_job(input=text).input == text


def test_what_strict_json_cannot_say_is_refused_on_saving():
    with pytest.raises(Unencodable):
        make_job(input={"x": "a\0b"})


def test_a_fixture_can_be_dumped_and_loaded():
    job = make_job(input={"x": [1, "2", None]}, request="text")
    dumped = serializers.serialize("json", [job])
    Job.objects.all().delete()
    for loaded in serializers.deserialize("json", dumped):
        loaded.save()
    job.refresh_from_db()
    assert (job.input, job.request) == ({"x": [1, "2", None]}, "text")


def test_the_column_is_text_in_the_database():
    field = Job._meta.get_field("input")
    assert field.db_type(connection) in {"text", "longtext"}
