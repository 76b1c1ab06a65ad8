"""The claim of a job by its message."""

import pytest
from django.db import OperationalError
from django.utils import timezone

from async_accept import tasks
from async_accept.db import errors
from async_accept.models import Job
from async_accept.testing import make_job
from tests.testapp.tasks import add


@pytest.mark.django_db
@pytest.mark.parametrize("faults", [0, 3])
def test_a_claim_waits_for_a_database_that_is_away(monkeypatch, faults):
    pauses, tries = [], [OperationalError("gone")] * faults + ["a job"]

    def claim(self, task_id, began):
        found = tries.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    class Connection:
        in_atomic_block = False

        def close(self):
            pass

    monkeypatch.setattr(tasks.JobTask, "_claim_once", claim)
    monkeypatch.setattr(errors, "connections", {"default": Connection()})
    monkeypatch.setattr(errors, "sleep", pauses.append)
    assert add._claim("id") == "a job"
    assert pauses == list(errors.PAUSES[:faults])


@pytest.mark.django_db(transaction=True)
def test_a_claim_after_which_the_connection_broke_is_known_again(monkeypatch):
    """It was committed, so nobody else will run the job."""
    job = make_job(add)
    claim = Job.claim

    def lose_the_connection(self, *args, **kwargs):
        assert claim(self, *args, **kwargs)
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(Job, "claim", lose_the_connection)
    monkeypatch.setattr(errors, "sleep", lambda seconds: None)
    held = add._claim(str(job.pk))
    assert (held.state, held.attempt) == ("running", 1)


@pytest.mark.django_db
def test_another_ones_claim_is_not_ours():
    job = make_job(add)
    began = timezone.now()
    assert job.claim("worker@host", 1, began=began)
    assert add._claim_once(str(job.pk), began) is None


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["running", "canceling", "succeeded", "failed", "canceled"])
def test_a_message_for_a_job_that_does_not_wait_is_one_query(state, django_assert_num_queries):
    job = make_job(add, state=state)
    with django_assert_num_queries(1):
        assert add._claim(str(job.pk)) is None
