"""A soft time limit that comes in the middle of a transaction costs no end, and no later job."""

import os
import signal

import pytest
from billiard import pool
from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, connection, connections, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper

from async_accept.jobs.publish import run_here
from async_accept.models import Job
from async_accept.tasks import JobTask
from async_accept.testing import make_job
from async_accept.worker import interruption
from async_accept.worker.interruption import mend_connections, watch_soft_limit
from tests.testapp.models import Note
from tests.testapp.tasks import add
from tests.worker.test_connections import worker  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def limit():
    """Let the signal do what it does in a process of Celery's pool; return what sends it."""
    before = signal.signal(pool.SIG_SOFT_TIMEOUT, pool.soft_timeout_sighandler)
    watch_soft_limit()
    yield lambda: os.kill(os.getpid(), pool.SIG_SOFT_TIMEOUT)
    signal.signal(pool.SIG_SOFT_TIMEOUT, before)
    interruption._interrupted = False
    mend_connections()


def autocommit_off():
    """Django's ``atomic()`` has just done this."""
    connection.set_autocommit(False)


def inside():
    """And this, but nothing will end it."""
    connection.set_autocommit(False)
    connection.in_atomic_block = True


def behind_djangos_back():
    connection.ensure_connection()
    connection._set_autocommit(False)


BROKEN = [autocommit_off, inside, behind_djangos_back]
deeds = {}


@shared_task(base=JobTask)
def interrupted():
    deeds["begin"]()
    if "write" in deeds:
        Note.objects.create(slug="a", title="a")
    return deeds["end"]()


def run(begin, end, **more):
    deeds.clear()
    deeds.update(begin=begin, end=end, **more)
    job = make_job(interrupted, input={})
    run_here(job)
    connection.close()  # what is not committed is gone
    return Job.objects.get(pk=job.pk)


@pytest.mark.parametrize("begin", BROKEN)
def test_the_end_is_stored_and_the_next_job_runs(begin, limit):
    job = run(begin, limit)
    assert (job.state, job.problem["code"]) == ("failed", "time-limit")
    after = make_job(add, input={"x": 1, "y": 2})
    run_here(after)
    assert Job.objects.get(pk=after.pk).state == "succeeded"


@pytest.mark.parametrize("begin", BROKEN)
def test_work_that_goes_on_after_the_limit_keeps_its_result(begin, limit):
    def caught():
        with pytest.raises(SoftTimeLimitExceeded):
            limit()
        return 1

    assert run(begin, caught).state == "succeeded"


def test_an_error_that_the_driver_makes_of_the_limit_is_the_limit(limit):
    def hidden():
        try:
            limit()
        finally:
            raise DatabaseError("the connection is out of step")

    job = run(lambda: None, hidden)
    assert (job.state, job.problem["code"]) == ("failed", "time-limit")


@pytest.mark.parametrize("begin", [autocommit_off, inside])
def test_work_that_leaves_a_transaction_open_by_itself_has_failed(begin):
    """Its effects are gone, so it must not be told that it succeeded."""
    job = run(begin, lambda: 1, write=True)
    assert (job.state, job.problem["code"], Note.objects.count()) == ("failed", "failed", 0)


@pytest.mark.parametrize("begin", BROKEN)
def test_nothing_that_another_task_has_left_reaches_the_next_job(worker, begin, limit):  # noqa: F811
    begin()
    with pytest.raises(SoftTimeLimitExceeded):
        limit()
    worker.close_database()
    with transaction.atomic():
        Note.objects.create(slug="a", title="a")
    connection.close()
    assert Note.objects.count() == 1


def test_a_transaction_around_the_work_is_left_alone(monkeypatch, tmp_path):
    """In eager mode and in tests, a job may run inside somebody's transaction on another database."""
    other = DatabaseWrapper({**connection.settings_dict, "NAME": tmp_path / "db", "OPTIONS": {}}, "other")
    other.connect()
    monkeypatch.setattr(connections, "all", lambda initialized_only=False: [connection, other])
    other.set_autocommit(False)
    before = other.connection
    job = make_job(add, input={"x": 1, "y": 2})
    run_here(job)
    assert Job.objects.get(pk=job.pk).state == "succeeded"
    assert (other.connection, other.autocommit) == (before, False)
    other.close()


def test_a_sound_connection_stays():
    connection.ensure_connection()
    before = connection.connection
    mend_connections()
    assert connection.connection is before
