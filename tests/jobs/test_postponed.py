"""Due jobs are put off in one statement or in several; both do the same."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.test import override_settings
from django.utils import timezone

from async_accept.jobs import postponed as module
from async_accept.jobs.postponed import LONGEST_STEP, put_off, step
from async_accept.models import Job, database_now
from async_accept.testing import make_job
from tests.testapp import tasks

pytestmark = pytest.mark.django_db

AGO = timedelta(seconds=30)
ON_POSTGRESQL = connection.vendor == "postgresql"


@pytest.fixture(
    autouse=True,
    params=[
        pytest.param("one statement", marks=pytest.mark.skipif(not ON_POSTGRESQL, reason="needs PostgreSQL")),
        "locked first",
    ],
)
def form(request, monkeypatch):
    """How the jobs are put off."""
    if request.param == "locked first":
        monkeypatch.setattr(module, "_in_one_statement", module._locked)
    return request.param


def due(ago=AGO, **columns):
    return make_job(tasks.add, dispatch_at=timezone.now() - ago, **columns)


@pytest.mark.parametrize("first", [timedelta(milliseconds=1), timedelta(seconds=10), timedelta(hours=2)])
def test_each_step_is_that_of_python(first):
    counts = [*range(25), 29_998, 29_999, 30_000]
    for dispatches in counts:
        due(dispatches=dispatches)
    with override_settings(ASYNC_ACCEPT={"REPUBLISH_AFTER": first}):
        before = database_now()
        found = {job.pk: dispatches for job, dispatches in put_off(100)}
        after = database_now()
        assert sorted(found.values()) == counts
        for job in Job.objects.all():
            dispatches = found[job.pk]
            assert before <= job.dispatch_at - step(dispatches) <= after
            assert job.dispatches == min(dispatches + 1, 30_000)
        assert step(25) == min(first * 2**20, LONGEST_STEP)


def test_the_oldest_come_first_and_not_too_many():
    second, first, third = due(2 * AGO), due(3 * AGO), due(AGO)
    assert [job.pk for job, _ in put_off(2)] == [first.pk, second.pk]
    assert [job.pk for job, _ in put_off(2)] == [third.pk]
    assert put_off(2) == []


def test_only_waiting_jobs_whose_time_has_come():
    make_job(tasks.add, dispatch_at=timezone.now() + AGO)
    for state in ("running", "canceling", "succeeded", "failed", "canceled"):
        make_job(tasks.add, state=state)
    before = {job.pk: (job.dispatches, job.dispatch_at) for job in Job.objects.all()}
    assert put_off(10) == []
    assert {job.pk: (job.dispatches, job.dispatch_at) for job in Job.objects.all()} == before


def test_it_tells_how_a_job_is_published():
    options = {"queue": "slow", "time_limit": 60}
    expected = {due(message_options=options).pk: options, due().pk: None}
    found = {job.pk: (job.task, job.options) for job, _ in put_off(10)}
    assert found == {pk: (tasks.add.name, options) for pk, options in expected.items()}


@pytest.mark.parametrize(("jobs", "locked_first"), [(0, 1), (1, 3), (50, 3)])
def test_the_statements_are_few(form, jobs, locked_first, django_assert_num_queries):
    """Without ``BEGIN`` and ``COMMIT``, which a transaction of the test replaces by two savepoints."""
    for n in range(jobs):
        due(dispatches=n % 10)
    savepoints = 2 if jobs else 0
    with django_assert_num_queries(1 if form == "one statement" else locked_first + savepoints):
        assert len(put_off(100)) == jobs


@pytest.mark.django_db(transaction=True)
def test_no_two_relays_get_one_job():
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip(f"{connection.vendor} locks no rows")
    ids, found, start = {due(dispatches=n % 3).pk for n in range(60)}, [], threading.Barrier(3)

    def relay():
        try:
            start.wait(10)
            while jobs := put_off(4):
                found.extend(job.pk for job, _ in jobs)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=relay) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 60
    assert set(found) == ids
