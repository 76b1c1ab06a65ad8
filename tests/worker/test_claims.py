"""The claim of a job by its message."""

import os
from uuid import UUID

import pytest
from django.db import OperationalError
from django.utils import timezone

from async_accept import signals
from async_accept.db import errors
from async_accept.encoding import Encoded
from async_accept.models import Job, database
from async_accept.steps import Step, surround
from async_accept.testing import make_job
from async_accept.worker import claims
from async_accept.worker.claims import Claim
from tests.testapp.tasks import add


@pytest.mark.django_db
@pytest.mark.parametrize("faults", [0, 3])
def test_a_claim_waits_for_a_database_that_is_away(monkeypatch, faults):
    pauses, tries = [], [OperationalError("gone")] * faults + ["a job"]

    def take(self):
        found = tries.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    class Connection:
        in_atomic_block = False

        def close(self):
            pass

    monkeypatch.setattr(Claim, "take", take)
    monkeypatch.setattr(errors, "connections", {"default": Connection()})
    monkeypatch.setattr(errors, "sleep", pauses.append)
    assert add._claim("id") == "a job"
    assert pauses == list(errors.PAUSES[:faults])


@pytest.mark.django_db(transaction=True)
def test_a_claim_after_which_the_connection_broke_is_known_again(monkeypatch):
    """It was committed, so nobody else will run the job."""
    job = make_job(add)
    take = claims.Claim.take
    broken = [OperationalError("server closed the connection unexpectedly")]

    def lose_the_connection(self):
        held = take(self)
        if broken:
            raise broken.pop()
        return held

    monkeypatch.setattr(Claim, "take", lose_the_connection)
    monkeypatch.setattr(errors, "sleep", lambda seconds: None)
    held = add._claim(str(job.pk))
    assert (held.state, held.attempt) == ("running", 1)
    assert broken == []


@pytest.mark.django_db
def test_another_ones_claim_is_not_ours():
    job = make_job(add)
    began = timezone.now()
    assert job.claim("worker@host", 1, began=began)
    assert claim_of(job, began=began).take() is None


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["running", "canceling", "succeeded", "failed", "canceled"])
def test_a_message_for_a_job_that_does_not_wait_changes_nothing(state, at_once, django_assert_num_queries):
    job = make_job(add, state=state)
    with django_assert_num_queries(2 if at_once else 1):
        assert add._claim(str(job.pk)) is None


# --- By one statement, and by two: both are the same --------------------------------------------------------------


@pytest.fixture(params=["by one statement", "by two"])
def at_once(request, monkeypatch):
    """Each of the two ways; whether it is the first one."""
    if request.param == "by two":
        monkeypatch.setattr(claims, "_statement", lambda using: None)
    elif claims._statement(database()) is None:
        pytest.skip("This database does not return what it has changed.")
    return request.param == "by one statement"


def claim_of(job, **changes):
    return Claim(str(job.pk), add.name, "worker@host", "quick", timezone.now())._replace(**changes)


@pytest.mark.django_db
def test_a_claim_returns_the_row_as_it_is_then(at_once, django_assert_num_queries):
    made = make_job(add, input={"x": 1, "y": 2}, progress={"percent": 3})
    claim = claim_of(made)
    with django_assert_num_queries(1 if at_once else 2):
        job = claim.take()
    stored = Job.objects.get()
    same = set(vars(stored)) - {"_state", "dispatch_at", "lease_until"}
    assert {name: vars(job)[name] for name in same} == {name: vars(stored)[name] for name in same}
    assert (job._state.db, job._state.adding) == (stored._state.db, False)
    assert (stored.state, stored.attempt, stored.progress) == ("running", 1, None)
    assert (stored.worker, stored.worker_pid, stored.queue) == ("worker@host", os.getpid(), "quick")
    assert stored.started_at == stored.updated_at == claim.began
    assert stored.dispatch_at is None
    assert stored.lease_until > timezone.now()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("columns", "is_taken"),
    [
        ({"attempt": 1, "dispatches": 0}, False),
        ({"attempt": 1, "dispatches": 1}, True),
        ({"task": "another.task"}, False),
        ({"order_key": "a", "active_key": "a"}, True),
    ],
    ids=["before its time", "published again", "of another task", "at its turn"],
)
def test_what_can_be_claimed(at_once, columns, is_taken):
    job = make_job(add)
    Job.objects.filter(pk=job.pk).update(**columns)
    assert bool(claim_of(job).take()) is is_taken
    job.refresh_from_db()
    assert job.state == ("running" if is_taken else "accepted")


@pytest.mark.django_db
def test_a_job_takes_its_turn_when_it_is_claimed(at_once):
    job = make_job(add, order_key="a")
    assert claim_of(job).take().active_key == "a"


@pytest.mark.django_db
@pytest.mark.parametrize("id", ["", "no id", None, 7, str(UUID(int=0))])
def test_a_message_without_a_job_claims_nothing(at_once, id):
    job = make_job(add)
    assert claim_of(job, task_id=id).take() is None
    assert claim_of(job, task_id=job.pk.hex).take() is None


@pytest.mark.django_db(transaction=True)
def test_one_of_many_has_the_job(at_once):
    job = make_job(add)
    assert [bool(claim_of(job).take()) for _ in range(3)] == [True, False, False]


@pytest.mark.django_db(transaction=True)
def test_a_claim_is_told_after_its_commit(at_once):
    job, heard = make_job(add), []

    def hear(job, before, **kwargs):
        heard.append((job.state, before))

    signals.job_started.connect(hear, sender=Job)
    try:
        claim_of(job).take()
        claim_of(job).take()
    finally:
        signals.job_started.disconnect(hear, sender=Job)
    assert heard == [("running", "accepted")]


@pytest.mark.django_db
def test_a_step_that_is_surrounded_gets_the_job_before_its_claim(at_once):
    seen = []

    def around(step, subject, do):
        seen.append((step, subject.state))
        return do()

    surround(around)
    try:
        assert claim_of(make_job(add)).take().state == "running"
    finally:
        surround(None)
    assert seen == [(Step.CLAIM, "accepted")]


@pytest.mark.django_db(transaction=True)
def test_a_row_that_cannot_be_read_fails(at_once, caplog):
    """Also if the claim has been committed by then, and only if it is this one's."""
    job = make_job(add)
    Job.objects.filter(pk=job.pk).update(input=Encoded("{no json"))
    heard = []

    def hear(before, **kwargs):
        heard.append(before)

    signals.job_failed.connect(hear, sender=Job)
    try:
        assert add._claim(str(job.pk)) is None
    finally:
        signals.job_failed.disconnect(hear, sender=Job)
    assert heard in (["accepted"], ["running"])
    job = Job.objects.defer("input").get()
    assert (job.state, job.problem["code"]) == ("failed", "failed")
    assert job.problem["reference"] in caplog.text
