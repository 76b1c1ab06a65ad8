"""How the end of an attempt is stored."""

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import DataError, OperationalError, connection

from async_accept.db import errors as database_errors
from async_accept.jobs.publish import run_here
from async_accept.testing import make_job
from async_accept.worker import finish
from tests.testapp.tasks import add, count


def failing(errors, only=""):
    """Let each UPDATE that contains *only* fail, as long as there are errors."""

    def execute(execute, sql, params, many, context):
        if errors and sql.startswith("UPDATE") and only in sql:
            raise errors.pop(0)
        return execute(sql, params, many, context)

    return connection.execute_wrapper(execute)


@pytest.mark.django_db(transaction=True)
def test_an_end_is_kept_until_the_database_takes_it(monkeypatch):
    pauses = []
    monkeypatch.setattr(database_errors, "sleep", pauses.append)
    job = make_job(add, input={"x": 1, "y": 2})
    away = [OperationalError("gone"), OperationalError("gone")]
    with failing(away, only="finished_at"):
        run_here(job)
    job.refresh_from_db()
    assert (job.state, job.attempt, pauses) == ("succeeded", 1, list(database_errors.PAUSES[:2]))


@pytest.mark.django_db(transaction=True)
def test_progress_that_the_table_cannot_hold_costs_no_result():
    job = make_job(count, input={"to": 2})
    with failing([DataError("character")], only="finished_at"):
        run_here(job)
    job.refresh_from_db()
    assert (job.state, job.progress) == ("succeeded", None)


@pytest.mark.django_db(transaction=True)
def test_a_result_that_the_table_cannot_hold_ends_the_job():
    """The table would refuse it after every attempt."""
    job = make_job(add, input={"x": 1, "y": 2})
    with failing([DataError("character")] * 2, only="finished_at"):
        run_here(job)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.problem["code"]) == ("failed", 1, "result-unencodable")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["before a try", "in a try"])
def test_a_soft_time_limit_does_not_forget_an_end(monkeypatch, where):
    """The work is over, and its end waits for a database that is away."""
    limit = [SoftTimeLimitExceeded()]

    def expire(seconds=0):
        if limit:
            raise limit.pop()

    job = make_job(add, input={"x": 1, "y": 2})
    monkeypatch.setattr(database_errors, "sleep", expire if where == "before a try" else lambda seconds: None)
    if where == "in a try":
        succeed = finish.results.succeed
        monkeypatch.setattr(finish.results, "succeed", lambda *a, **k: expire() or succeed(*a, **k))
    with failing([OperationalError("gone")], only="finished_at"):
        run_here(job)
    job.refresh_from_db()
    assert (job.state, job.attempt, limit) == ("succeeded", 1, [])


@pytest.mark.django_db(transaction=True)
def test_an_end_that_can_never_be_stored_is_logged_and_left_to_the_lease(caplog):
    job = make_job(add, input={"x": 1, "y": 2})
    with failing([DataError("character")] * 5, only="finished_at"):
        run_here(job)
    job.refresh_from_db()
    assert job.state == "running"
    assert f"The end of job {job.pk} is not stored: DataError" in caplog.text
