"""The worker's main process reports for a child that is gone."""

from types import SimpleNamespace

import pytest
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from django.db import DataError, OperationalError

from async_accept.db import errors
from async_accept.jobs.publish import HEADER
from async_accept.models import Job
from async_accept.testing import make_job
from async_accept.worker.parent import wait_for_reports
from tests.testapp.tasks import add

#: Its threads have connections of their own.
pytestmark = pytest.mark.django_db(transaction=True)


def message(job, pid=42):
    """The request as the worker's main process knows it."""
    return SimpleNamespace(id=str(job.pk), headers={HEADER: 1}, hostname="worker@host", worker_pid=pid)


def claimed(pid=42, **columns):
    return make_job(add, state="running", worker="worker@host", worker_pid=pid, **columns)


def throw(error):
    raise error


def report(what, job, *args, pid=42):
    """Let the worker's main process report; it does so in a thread."""
    getattr(add.backend, what)(str(job.pk), *args, request=message(job, pid))
    wait_for_reports(10)
    job.refresh_from_db()


def test_a_child_that_died_loses_its_job():
    job = claimed()
    report("mark_as_failure", job, WorkerLostError("killed"))
    assert (job.state, job.problem["code"]) == ("failed", "lost")


def test_a_child_that_died_gives_sound_work_back():
    job = claimed(retry_when_lost=True, max_attempts=2)
    report("mark_as_failure", job, WorkerLostError("killed"))
    assert job.state == "accepted"


def test_a_child_over_its_time_limit_fails_its_job():
    job = claimed(retry_when_lost=True, max_attempts=2)
    report("mark_as_failure", job, TimeLimitExceeded(5))
    assert (job.state, job.problem["code"]) == ("failed", "time-limit")


@pytest.mark.parametrize("pid", [None, 43])
def test_the_death_of_a_child_that_does_not_hold_the_job_changes_nothing(pid):
    job = claimed(pid=42)
    report("mark_as_failure", job, WorkerLostError("killed"), pid=pid)
    assert job.state == "running"


def test_a_revoked_message_cancels_its_job():
    job = make_job(add)
    report("mark_as_revoked", job, "revoked")
    assert job.state == "canceled"


def test_a_report_waits_for_a_database_that_is_away(monkeypatch):
    pauses, faults, lose = [], [OperationalError("gone")] * 2, Job.lose
    monkeypatch.setattr(errors, "sleep", pauses.append)
    monkeypatch.setattr(Job, "lose", lambda *args: throw(faults.pop()) if faults else lose(*args))
    job = claimed()
    report("mark_as_failure", job, WorkerLostError("killed"))
    assert (job.state, pauses) == ("failed", list(errors.PAUSES[:2]))


def test_a_report_that_cannot_be_stored_is_logged_and_left_to_the_lease(monkeypatch, caplog):
    monkeypatch.setattr(Job, "lose", lambda *args: throw(DataError("hunter2")))
    job = claimed()
    report("mark_as_failure", job, WorkerLostError("killed"))
    assert job.state == "running"
    assert f"Job {job.pk} is left to its lease: DataError" in caplog.text
    assert "hunter2" not in caplog.text
