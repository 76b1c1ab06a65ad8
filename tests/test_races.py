"""Races with DELETE and with purging: what a request has just found may be gone at its next step. Never a 500."""

import pytest

from async_accept import dispatch, retention
from async_accept.models import Job
from async_accept.testing import make_job
from async_accept.watching import watcher
from tests.testapp import tasks

pytestmark = pytest.mark.django_db

URL, DATA = "/api/policies/always/class/", {"x": 1, "y": 2}


@pytest.fixture
def vanishing(monkeypatch):
    """Holders of a key that go right before they are looked up: as many as are asked for."""
    holder = dispatch.holder
    left = []

    def gone(job):
        if left:
            left.pop()
            return None
        return holder(job)

    monkeypatch.setattr(dispatch, "holder", gone)
    return lambda times: left.extend([True] * times)


def test_a_key_whose_holder_went_is_tried_again(alices, monkeypatch):
    """Contract 5: the second try is the first of a free key."""
    first = alices.post(URL, DATA, headers={"idempotency-key": "k"})
    find = dispatch.holder

    def delete(job):
        Job.objects.filter(pk=first.data["id"]).delete()
        return find(job)

    monkeypatch.setattr(dispatch, "holder", delete)
    again = alices.post(URL, DATA, headers={"idempotency-key": "k"})
    assert again.status_code == 202
    assert again["Location"] != first["Location"]


def test_a_key_that_is_never_free_and_never_held_is_503(alices, vanishing):
    """Contract 5, 7: bounded, and the client may come back."""
    first = alices.post(URL, DATA, headers={"idempotency-key": "k"})
    vanishing(dispatch.TRIES + 1)
    refused = alices.post(URL, DATA, headers={"idempotency-key": "k"})
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    again = alices.post(URL, DATA, headers={"idempotency-key": "k"})
    assert again["Location"] == first["Location"]


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_deleted_while_its_client_waits_is_404(alices, monkeypatch):
    """Contract 4: as from any other of its URLs."""

    def wait(job, *args, **kwargs):
        retention.forget(job)
        return True

    monkeypatch.setattr(watcher, "wait", wait)
    assert alices.post(URL, DATA, headers={"prefer": "wait=5"}).status_code == 404


def test_a_job_that_is_purged_while_it_is_canceled_is_404(alices, alice, monkeypatch):
    """Contract 9, 18."""
    job = make_job(tasks.add, owner=alice, state="running")

    def lose(self):
        Job.objects.filter(pk=self.pk).delete()
        return False

    monkeypatch.setattr(Job, "cancel", lose)
    answer = alices.post(f"/api/jobs/{job.pk}/cancel/")
    assert (answer.status_code, answer.data["code"]) == (404, "not-found")
