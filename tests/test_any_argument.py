"""Whatever a task passes to the functions and exceptions of this package, its job has an outcome."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from celery import shared_task
from celery.exceptions import Retry
from django.utils.functional import SimpleLazyObject, lazystr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.response import Response

from async_accept import encoding, progress
from async_accept.exceptions import JobFailed
from async_accept.jobs.attempt import Attempt, begin, end
from async_accept.jobs.publish import run_here
from async_accept.models import Job
from async_accept.states import FINAL, State
from async_accept.tasks import JobTask
from async_accept.testing import make_job

pytestmark = pytest.mark.django_db

deeds = {}


@shared_task(base=JobTask, bind=True, retry_when_lost=True)
def do_deed(self):
    return deeds["deed"](self)


def refuse(self, *args, **kwargs):
    raise LookupError("hunter2")


class Hostile:
    """Raises whatever it is asked."""


OPERATIONS = (
    "str repr format float int index bool len iter getitem eq lt hash add contains getstate reduce_ex"
)
for operation in OPERATIONS.split():
    setattr(Hostile, f"__{operation}__", refuse)


class Number:
    """As a scalar of numpy."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return float(self.value)

    def __int__(self):
        return int(self.value)

    __index__ = __int__


class Mapping(dict):
    items = keys = __iter__ = refuse


class HostileText(str):
    __str__ = refuse


class HostileError(Exception):
    __str__ = __repr__ = __reduce__ = refuse


NASTY = (
    *(Hostile(), Hostile, HostileText("x"), HostileError(), Mapping(a=1), Number(5), Number(math.nan)),
    *(math.nan, math.inf, -math.inf, 5e-324, 1.7e308, 10**308, 10**400, -(10**400), True, 1j),
    *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1e999999")),
    *(datetime.max, datetime.min, datetime.max.replace(tzinfo=UTC), timedelta.max, timedelta.min),  # noqa: DTZ901
    *("\0", "\ud800", "x" * 100_000, b"\xff", bytearray(b"x"), memoryview(b"x"), b""),
    *(lazystr("lazy"), SimpleLazyObject(lambda: refuse(None)), KeyError("card"), ValueError, SystemExit(1)),
    *(print, iter(()), range(10**30), object(), {1, 2}, {"a": {1: object()}}, [[[]]] * 3, ...),
)
ORDINARY = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.fractions(),
    st.text() | st.binary() | st.datetimes() | st.timedeltas() | st.dates(),
    st.lists(st.integers() | st.text(), max_size=3) | st.dictionaries(st.text(), st.floats(), max_size=3),
)
#: Functions that return a value: Hypothesis itself must not look at some of them.
anything = st.one_of(
    st.integers(0, len(NASTY) - 1).map(lambda number: lambda: NASTY[number]),
    ORDINARY.map(lambda value: lambda: value),
)


def called(function, *names):
    """Return calls of *function* with some of these arguments, and any values."""
    given = st.fixed_dictionaries({}, optional=dict.fromkeys(names, anything))
    return given.map(
        lambda given: lambda *task: function(*task, **{name: value() for name, value in given.items()})
    )


def fail(task, detail="No.", **given):
    raise JobFailed(detail, **given)


def retry(task, **given):
    return task.retry(**given)


def retry_by_hand(task, **given):
    raise Retry(**given)


def answer(task, **given):
    return Response(**given)


deed = st.one_of(
    called(retry, "exc", "throw", "eta", "countdown", "max_retries", "args", "kwargs", "priority"),
    called(retry_by_hand, "message", "exc", "when"),
    called(fail, "detail", "code", "status", "title", "type", "extra"),
    called(answer, "data", "status", "headers", "content_type", "exception", "template_name"),
    anything.map(lambda value: lambda task: value()),
)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(deed)
def test_every_job_has_an_outcome(db, deed):
    deeds["deed"] = deed
    job = make_job(do_deed)
    run_here(job)
    told = Job.objects.get(pk=job.pk)  # each column can be read
    assert told.state in FINAL or (
        told.state == State.ACCEPTED and told.history[0]["reason"].startswith("retry")
    )
    if told.problem is not None:
        assert all(type(told.problem[name]) is str for name in ("type", "title", "detail", "code"))
        assert 400 <= told.problem["status"] < 500
    assert "hunter2" not in f"{told.problem} {told.history}"


def track_all(**given):
    list(progress.track([1, 2], **given))


def track_one(**given):
    next(progress.track([1, 2], **given))


said = st.one_of(
    called(progress.report, "current", "total", "message", "unit"),
    called(progress.advance, "amount", "message"),
    anything.map(lambda line: lambda: progress.log(line())),
    called(track_all, "label", "total", "weight", "unit"),
    called(track_one, "label", "total", "weight", "unit"),
)


@settings(max_examples=100)
@given(st.lists(said, max_size=5))
def test_progress_never_fails_a_job(words):
    begin(attempt := Attempt(Job(operation="test")))
    try:
        for say in words:
            say()
            columns = attempt.progress.snapshot()
            told = encoding.loads(encoding.dumps(columns)).get("progress") or {}
            assert told.get("percent") is None or 0 <= told["percent"] <= 100
            assert len(told.get("message", "")) <= 500
    finally:
        end(attempt)


class Sized(list):
    __len__ = refuse


@pytest.mark.parametrize("items", [Sized([1]), (each for each in [1])], ids=["a hostile length", "no length"])
def test_items_that_cannot_be_counted_are_tracked_all_the_same(items):
    begin(attempt := Attempt(Job(operation="test")))
    try:
        assert list(progress.track(items)) == [1]
    finally:
        end(attempt)


@pytest.mark.parametrize(
    ("say", "current"),
    [
        ([lambda: progress.advance(Decimal("0.5")), lambda: progress.advance(0.5)], 1.0),
        ([lambda: progress.report("1"), progress.advance], 2.0),
        ([lambda: progress.report(math.nan), progress.advance], 1),
        ([lambda: progress.report(1), lambda: progress.advance(None)], 1),
        ([lambda: progress.report(1e308), lambda: progress.advance(1e308)], None),
        ([lambda: progress.report(True), progress.advance], 2.0),
        ([lambda: progress.report(Number(3)), lambda: progress.advance(Number(2))], 5.0),
    ],
)
def test_numbers_of_different_kinds_are_added(say, current):
    begin(attempt := Attempt(Job(operation="test")))
    try:
        for one in say:
            one()
        assert attempt.progress.snapshot()["progress"]["current"] == current
    finally:
        end(attempt)
