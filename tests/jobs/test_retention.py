"""Retention: first the result goes, then the row."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_results.models import TaskResult

from async_accept.jobs.retention import forget, purge, sweep
from async_accept.models import Job
from async_accept.states import ACTIVE, FINAL
from async_accept.testing import make_job

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
#: SQLite's clock counts milliseconds, so it may be one behind ours.
TICK = timedelta(milliseconds=2)


def ended(ago, state="succeeded", **columns):
    """A job that ended *ago*, with the times that it got then."""
    finished_at = timezone.now() - ago - TICK
    times = {"finished_at": finished_at, "expires_at": finished_at + DAY, "sweep_at": finished_at + DAY}
    return make_job(state=state, **{**times, **columns})


def has_result(job):
    return TaskResult.objects.filter(task_id=str(job.pk)).exists()


def exists(job):
    return Job.objects.filter(pk=job.pk).exists()


# --- Sweeping --------------------------------------------------------------------------------------------


def test_a_result_is_kept_for_its_lifetime():
    job = ended(DAY - timedelta(minutes=1))
    assert sweep(100) == 0
    assert has_result(job)


def test_first_the_result_goes():
    job = ended(DAY)
    assert sweep(100) == 1
    assert not has_result(job)
    job.refresh_from_db()
    assert job.sweep_at == job.finished_at + 30 * DAY


def test_then_the_row_goes():
    job = ended(DAY)
    sweep(100)
    Job.objects.filter(pk=job.pk).update(
        finished_at=timezone.now() - 30 * DAY, sweep_at=timezone.now() - timedelta(seconds=1)
    )
    assert sweep(100) == 1
    assert not exists(job)


def test_a_job_that_is_long_overdue_goes_at_once():
    job = ended(31 * DAY)
    sweep(100)
    assert not exists(job)
    assert not has_result(job)


@override_settings(ASYNC_ACCEPT={"JOB_LIFETIME": timedelta(hours=1)})
def test_a_row_is_kept_at_least_as_long_as_its_result():
    young, old = ended(timedelta(hours=2)), ended(DAY)
    sweep(100)
    assert exists(young)
    assert not exists(old)


@override_settings(ASYNC_ACCEPT={"RESULT_LIFETIME": DAY, "JOB_LIFETIME": 30 * DAY})
def test_a_row_and_its_result_that_are_due_together_go_together():
    """The job ended while RESULT_LIFETIME was as long as JOB_LIFETIME is now."""
    finished_at = timezone.now() - 30 * DAY
    job = make_job(
        state="succeeded",
        finished_at=finished_at,
        expires_at=finished_at + 30 * DAY,
        sweep_at=finished_at + 30 * DAY,
    )
    sweep(100)
    assert not exists(job)


def test_an_expired_job_waits_for_its_next_time():
    ended(DAY)
    sweep(100)
    assert sweep(100) == 0


def test_a_sweep_has_a_limit_and_takes_the_oldest_first():
    jobs = [ended(timedelta(days=31, hours=n)) for n in range(5)]
    assert sweep(2) == 2
    assert [exists(job) for job in jobs] == [True, True, True, False, False]


def test_a_sweep_is_no_long_transaction(monkeypatch):
    """How long a transaction lasts does not depend on how many jobs are due."""
    monkeypatch.setattr("async_accept.jobs.retention.AT_ONCE", 2)
    jobs = [ended(31 * DAY) for _ in range(5)]
    with CaptureQueriesContext(connection) as captured:
        assert sweep(100) == 5
    begun = [q["sql"] for q in captured if q["sql"].startswith(("BEGIN", "SAVEPOINT"))]
    assert len(begun) == 3
    assert not any(map(exists, jobs))


@pytest.mark.parametrize("state", ACTIVE)
def test_an_active_job_is_never_touched(state):
    job = make_job(state=state, created_at=timezone.now() - 1000 * DAY)
    sweep(100)
    assert exists(job)


@pytest.mark.parametrize("state", FINAL)
def test_every_final_state_is_swept(state):
    job = ended(31 * DAY, state=state)
    sweep(100)
    assert not exists(job)


def test_results_of_other_tasks_are_not_touched():
    TaskResult.objects.create(task_id="somebody else's")
    ended(31 * DAY)
    sweep(100)
    assert TaskResult.objects.get().task_id == "somebody else's"


def test_a_sweep_without_due_jobs_is_one_query(django_assert_num_queries):
    make_job()
    with django_assert_num_queries(1):
        sweep(100)


def test_the_number_of_jobs_does_not_change_the_number_of_statements(django_assert_num_queries):
    for _ in range(20):
        ended(DAY)
        ended(31 * DAY)
    with django_assert_num_queries(8):
        sweep(100)


# --- Forgetting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", FINAL)
def test_forgetting_an_ended_job_deletes_it_at_once(state):
    job = make_job(state=state)
    assert forget(job) is True
    assert not exists(job)
    assert not has_result(job)


def test_forgetting_a_waiting_job_deletes_it_at_once():
    job = make_job()
    assert forget(job) is True
    assert not exists(job)


@pytest.mark.parametrize("state", ["running", "canceling"])
def test_forgetting_a_running_job_hides_and_stops_it(state, django_user_model):
    owner = django_user_model.objects.create(username="alice")
    job = make_job(state=state, owner=owner)
    assert forget(job) is False
    assert not Job.objects.visible_to(owner).exists()
    job.refresh_from_db()
    assert job.state == "canceling"


def test_a_forgotten_job_goes_when_it_has_ended():
    job = make_job(state="running")
    forget(job)
    job.end_canceled()
    Job.objects.filter(pk=job.pk).update(sweep_at=F("sweep_at") - TICK)
    assert sweep(100) == 1
    assert not exists(job)


# --- Purging -----------------------------------------------------------------------------------------------


def test_only_ended_jobs_are_purged():
    jobs = [make_job(state=state) for state in (*ACTIVE, *FINAL)]
    assert purge([job.pk for job in jobs]) == len(FINAL)
    assert {job.state for job in Job.objects.all()} == set(ACTIVE)
