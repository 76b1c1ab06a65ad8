"""One line in the log for each transition: its fields, and nothing of payloads."""

import logging
from datetime import timedelta
from functools import partial

import pytest
from django.db import OperationalError

from async_accept import signals
from async_accept.db import errors
from async_accept.jobs.accept import accept
from async_accept.models import Job
from async_accept.problems import problem
from async_accept.testing import make_job
from tests.testapp.tasks import add

pytestmark = pytest.mark.django_db

SECRET = "".join(["hun", "ter", "2"])
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def lines(caplog, django_capture_on_commit_callbacks):
    """Do something, commit, and return the records of its transitions."""

    def of(do):
        caplog.clear()
        with (
            caplog.at_level(logging.INFO, "async_accept.jobs.transitions"),
            django_capture_on_commit_callbacks(execute=True),
        ):
            do()
        return [record for record in caplog.records if record.name == "async_accept.jobs.transitions"]

    return of


def new(**request_meta):
    return Job(
        operation="orders.create", task=add.name, input={"card": SECRET}, request={"meta": request_meta}
    )


def steps(records):
    return [(record.state_from, record.state_to, record.attempt, record.reason) for record in records]


def test_each_transition_is_one_line(lines):
    job = make_job(retry_when_lost=True, max_attempts=9)
    life = [
        *(job.claim, partial(job.give_back, timedelta(), "retry: ValueError", retries=1)),
        *(job.claim, partial(job.lose, "lease")),
        *(job.claim, job.cancel, job.end_canceled),
    ]
    assert [step for do in life for step in steps(lines(do))] == [
        ("accepted", "running", 1, None),
        ("running", "accepted", 1, "retry"),
        ("accepted", "running", 2, None),
        ("running", "accepted", 2, "lost"),
        ("accepted", "running", 3, None),
        ("running", "canceling", 3, None),
        ("canceling", "canceled", 3, "canceled"),
    ]


def test_a_failure_is_no_error_here_and_has_the_code_of_its_problem(lines):
    """The error is logged by who knows its traceback."""
    [*_, record] = lines(lambda: make_job(state="running").fail(problem("lost")))
    assert (record.levelname, record.state_to, record.reason) == ("INFO", "failed", "lost")


def test_a_second_cancel_is_no_line(lines):
    job = make_job(state="canceling")
    assert lines(job.cancel) == []


def test_the_plain_line_says_the_same(lines):
    job = make_job(operation="orders.create")
    [record] = lines(job.claim)
    assert record.getMessage() == f"Job {job.pk} (orders.create): accepted -> running, attempt 1"
    assert (record.job_id, record.operation) == (str(job.pk), "orders.create")


def test_what_is_rolled_back_is_no_line(lines):
    assert lines(make_job(state="succeeded").end_canceled) == []


def test_nothing_of_the_payload_is_in_it(lines):
    job = new(HTTP_AUTHORIZATION=SECRET)

    def live():
        accept(job)
        job.claim()
        job.succeed({"status": 200, "headers": {"X": SECRET}})

    records = lines(live)
    assert len(records) == 3
    assert SECRET not in repr([vars(record) for record in records])


# --- The id of the request -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "found"),
    [
        ({"HTTP_X_REQUEST_ID": "a1-b2", "HTTP_TRACEPARENT": f"00-{TRACE}-00f067aa0ba902b7-01"}, "a1-b2"),
        ({"HTTP_TRACEPARENT": f"00-{TRACE}-00f067aa0ba902b7-01"}, TRACE),
        ({"HTTP_X_REQUEST_ID": "forged\x1b[2J line"}, None),
        ({"HTTP_X_REQUEST_ID": "x" * 129}, None),
        ({}, None),
    ],
)
def test_the_id_of_the_request_is_told_if_it_looks_like_one(lines, meta, found):
    [record] = lines(lambda: accept(new(**meta)))
    assert (record.state_from, record.state_to, record.request_id) == (None, "accepted", found)


def test_a_line_costs_no_statement(lines, django_assert_num_queries):
    """The relay has left out the columns that can be large."""
    pk = make_job(state="running").pk
    job = Job.objects.defer("request", "input").get(pk=pk)
    with django_assert_num_queries(1):
        [record] = lines(lambda: job.fail(problem("lost")))
    assert record.request_id is None


@pytest.mark.django_db(transaction=True)
def test_an_end_that_a_deadlock_has_undone_is_told_as_if_it_were_the_first(lines, monkeypatch):
    """In between, the instance knows of no end, either."""
    job, known = make_job(state="running"), []

    def fail_once(sender, job, **kwargs):
        known.append(job.state)
        if len(known) == 1:
            raise OperationalError("a deadlock")

    monkeypatch.setattr(errors, "is_conflict", lambda error: True)
    signals.job_ending.connect(fail_once, sender=Job)
    try:
        told = steps(lines(lambda: job.fail(problem("lost"))))
    finally:
        signals.job_ending.disconnect(fail_once, sender=Job)
    assert (len(known), told) == (2, [("running", "failed", 1, "lost")])
