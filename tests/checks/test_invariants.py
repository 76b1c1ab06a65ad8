"""The invariants find what no job may be, and nothing in a healthy table."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_celery_results.models import TaskResult

from async_accept.checks.invariants import INVARIANTS, violations
from async_accept.models import Job
from async_accept.problems import problem
from async_accept.states import State
from async_accept.testing import make_job, run_accepted_jobs
from tests.testapp import tasks

pytestmark = pytest.mark.django_db

LONG_AGO = timedelta(minutes=5)

#: For each invariant that the database itself does not guard: a state, and what breaks it.
BREAKS = {
    "wait, and no relay has published them": ("accepted", {"dispatch_at": timezone.now() - LONG_AGO}),
    "have lost their worker, and no relay has taken them": (
        "running",
        {"lease_until": timezone.now() - LONG_AGO},
    ),
    "run without having been claimed": ("running", {"attempt": 0}),
    "have more attempts than they may": ("running", {"attempt": 2, "max_attempts": 1}),
    "are active and have a result or a problem": ("running", {"problem": problem("failed")}),
    "have ended and hold their active key": ("succeeded", {"active_key": "key"}),
    "have ended and are never purged": ("succeeded", {"sweep_at": None}),
    "succeeded without a result": ("succeeded", {"response": None}),
    "succeeded with a problem": ("succeeded", {"problem": problem("failed")}),
    "succeeded without an attempt": ("succeeded", {"attempt": 0}),
    "failed or were canceled without a problem": ("canceled", {"problem": None}),
    "are in a state that does not exist": ("canceled", {"state": "strange", "finished_at": None}),
}
#: Those that constraints of the table guard as well.
GUARDED = {
    "wait without a time to be published",
    "run without a lease",
    "are active and have an end time",
    "have ended and hold a lease or wait to be published",
}


def names():
    return [violation.name for violation in violations()]


def test_every_invariant_is_tested_here():
    assert set(BREAKS) | GUARDED == set(INVARIANTS)


def test_a_healthy_table_breaks_none():
    for state in State.values:
        make_job(tasks.add, state=state)
    make_job(tasks.crash)
    make_job(tasks.flaky, input={"failures": 2})
    run_accepted_jobs(raises=False)
    assert names() == []


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_row_is_found(name):
    state, changes = BREAKS[name]
    job = make_job(tasks.add, state=state)
    Job.objects.filter(pk=job.pk).update(**changes)
    (violation,) = violations()
    assert (violation.name, violation.count, violation.ids) == (name, 1, [job.pk])


def test_a_little_late_is_not_broken():
    make_job(tasks.add, dispatch_at=timezone.now() - timedelta(seconds=30))
    assert names() == []
    assert [v.count for v in violations(grace=timedelta(seconds=5))] == [1]


def test_a_lost_result_is_found():
    job = make_job(tasks.add, state="succeeded", result=3)
    make_job(tasks.add, state="succeeded", result=3)
    TaskResult.objects.filter(task_id=str(job.pk)).delete()
    (violation,) = violations()
    assert "result is gone" in violation.name
    assert violation.ids == [job.pk]


def test_an_expired_result_is_not_missed():
    job = make_job(tasks.add, state="succeeded", expires_at=timezone.now() - LONG_AGO)
    TaskResult.objects.filter(task_id=str(job.pk)).delete()
    assert names() == []


def test_all_are_counted_and_some_are_told():
    for _ in range(8):
        make_job(tasks.add, dispatch_at=timezone.now() - LONG_AGO)
    (violation,) = violations()
    assert (violation.count, len(violation.ids)) == (8, 5)
    assert str(violation).startswith("8 jobs wait, and no relay has published them: ")
    assert str(violation).endswith(", …")


def test_only_the_given_jobs_are_looked_at():
    job = make_job(tasks.add, dispatch_at=timezone.now() - LONG_AGO)
    assert list(violations(jobs=Job.objects.exclude(pk=job.pk))) == []


def test_a_constraint_guards_what_a_constraint_can():
    constraints = {
        name
        for name, details in connection.introspection.get_constraints(
            connection.cursor(), Job._meta.db_table
        ).items()
        if details["check"]
    }
    assert {constraint.name for constraint in Job._meta.constraints} <= constraints
