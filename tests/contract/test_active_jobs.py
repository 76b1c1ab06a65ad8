"""Contract 5, 6: one active job, and what a key means that joined it."""

import pytest
from django.utils import timezone

from async_accept.conf import DEFAULTS
from async_accept.jobs.keys import forget_expired
from async_accept.models import Job, JoinedKey
from tests.testapp import contract_tasks

pytestmark = pytest.mark.django_db(transaction=True)

JOIN, REFUSE = "/api/gates/join/", "/api/gates/refuse/"
KEY = {"Idempotency-Key": "k"}


def test_second_request_joins_the_active_job(alice, worker):
    """Contract 6: a second request gets that job, and after its end a new one."""
    first = alice.post(JOIN, {"name": "one"})
    second = alice.post(JOIN, {"name": "one"})
    other = alice.post(JOIN, {"name": "two"})
    assert first.headers["Location"] == second.headers["Location"] != other.headers["Location"]
    contract_tasks.gate("one").set()
    alice.follow(first)
    third = alice.post(JOIN, {"name": "one"})
    assert third.headers["Location"] != first.headers["Location"]


def test_a_deleted_job_is_not_joined(alice, worker):
    """Contract 6: a job that its owner deleted while it ran is still active, but nobody can follow it."""
    first = alice.post(JOIN, {"name": "one"})
    alice.until(first, "running")
    alice.delete(first.headers["Operation-Location"])
    assert alice.post(JOIN, {"name": "one"}).status_code in (202, 409)
    joined = alice.post(JOIN, {"name": "one"})
    if joined.status_code == 202:
        assert alice.get(joined.headers["Location"]).status_code != 404


def test_no_anonymous_caller_joins_another(anybody):
    """Contract 6: nobody knows whether it is the same one, so nobody is led to another's job."""
    assert anybody.post("/api/open-gates/join/", {"name": "one"}).status_code == 202
    assert anybody.post("/api/open-gates/join/", {"name": "one"}).status_code == 409


def test_a_canceled_job_is_active_until_it_has_stopped(alice):
    """Contract 6: canceling is active; canceled is not."""
    alice.post(REFUSE, {"name": "one"})
    job = Job.objects.get()
    job.claim("w", 1)
    job.cancel()
    assert alice.post(REFUSE, {"name": "one"}).status_code == 409
    job.end_canceled()
    assert alice.post(REFUSE, {"name": "one"}).status_code == 202


# --- A key and an active key ----------


def test_the_key_of_a_repeat_comes_before_that_of_the_active_job(alice):
    """Contract 5, 6: the same Idempotency-Key with another payload is 422, also while such a job is active."""
    first = alice.post(JOIN, {"name": "one"}, headers=KEY)
    assert alice.post(JOIN, {"name": "one", "refuse": True}, headers=KEY).status_code == 422
    assert alice.post(JOIN, {"name": "two"}, headers=KEY).status_code == 422
    joined = alice.post(JOIN, {"name": "one", "refuse": True})
    assert joined.headers["Location"] == first.headers["Location"]


def test_a_repeat_is_no_second_request(alice):
    """Contract 5, 6: where a second request is refused, the repeat of the first one is not."""
    first = alice.post(REFUSE, {"name": "one"}, headers=KEY)
    again = alice.post(REFUSE, {"name": "one"}, headers=KEY)
    other = alice.post(REFUSE, {"name": "one"}, headers={"Idempotency-Key": "other"})
    assert (again.status_code, other.status_code) == (202, 409)
    assert again.headers["Location"] == first.headers["Location"]
    assert set(other.json()) == {"detail", "code"}


def test_repeat_of_a_job_that_ended_while_another_is_active(alice, worker):
    """Contract 5, 6: each key leads to its own job, whichever is active now."""
    data = {"name": "one"}
    first = alice.post("/api/gates/join/", data, headers=KEY)
    alice.post(f"{first.headers['Operation-Location']}cancel/")
    alice.until(first, "canceled")
    second = alice.post("/api/gates/join/", data, headers={"Idempotency-Key": "second"})
    assert second.headers["Location"] != first.headers["Location"]
    again = alice.post("/api/gates/join/", data, headers=KEY)
    assert again.headers["Location"] == first.headers["Location"]


# --- A key that joined the active job of another key ----------


@pytest.fixture
def joined(alice):
    """A request that joined the active job of another key."""
    first = alice.post(JOIN, {"name": "one"}, headers={"Idempotency-Key": "first"})
    joined = alice.post(JOIN, {"name": "one"}, headers=KEY)
    assert (joined.status_code, joined.headers["Location"]) == (202, first.headers["Location"])
    return joined


def test_a_key_that_joined_stands_for_the_job_that_it_joined(alice, joined):
    """Contract 5, 6: a repeat gets the first answer again, also where that was the job of another key."""
    Job.objects.get().cancel()
    again = alice.post(JOIN, {"name": "one"}, headers=KEY)
    assert (again.status_code, again.headers["Location"]) == (202, joined.headers["Location"])
    assert Job.objects.count() == 1


def test_a_key_that_joined_is_held_to_its_payload(alice, joined):
    """Contract 5, 6: 422, while that job is active and after."""
    for _ in range(2):
        other = alice.post(JOIN, {"name": "two"}, headers=KEY)
        assert (other.status_code, Job.objects.count()) == (422, 1)
        Job.objects.get().cancel()


def test_a_key_that_joined_is_its_owners(alice, bob, joined):
    """Contract 5: another user's key is another key."""
    Job.objects.get().cancel()
    other = bob.post(JOIN, {"name": "one"}, headers=KEY)
    assert (other.status_code, Job.objects.count()) == (202, 2)


def test_a_key_that_joined_a_deleted_job_is_free(alice, joined):
    """Contract 5: as the key of a job is that its owner has deleted."""
    alice.delete(joined.headers["Operation-Location"])
    again = alice.post(JOIN, {"name": "one"}, headers=KEY)
    assert again.status_code == 202
    assert again.headers["Location"] != joined.headers["Location"]


def test_a_key_that_joined_lives_as_long_as_any(alice, joined):
    """Contract 5: and what is too old goes."""
    Job.objects.get().cancel()
    JoinedKey.objects.update(created_at=timezone.now() - DEFAULTS["IDEMPOTENCY_KEY_LIFETIME"] * 1.01)
    again = alice.post(JOIN, {"name": "one"}, headers=KEY)
    assert again.headers["Location"] != joined.headers["Location"]
    forget_expired()
    assert [str(key.job_id) for key in JoinedKey.objects.all()] == [again.json()["id"]]


def test_a_key_whose_job_was_deleted_joins_for_good(alice, joined):
    """Contract 5, 6: it stands for the job that it joins next, also when that has ended."""
    alice.delete(joined.headers["Operation-Location"])
    next_one = alice.post(JOIN, {"name": "one"}, headers={"Idempotency-Key": "next"})
    for _ in range(2):
        again = alice.post(JOIN, {"name": "one"}, headers=KEY)
        assert again.headers["Location"] == next_one.headers["Location"]
        Job.objects.get(pk=next_one.json()["id"]).cancel()


def test_a_key_that_joined_is_held_to_it_also_if_nothing_is_joined(alice, joined):
    """Contract 5, 6: 422, also for a payload that has no active key."""
    other = alice.post(JOIN, {"name": "anybody"}, headers=KEY)
    assert (other.status_code, Job.objects.count()) == (422, 1)
