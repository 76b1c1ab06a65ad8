"""Contract 9, 11, 12, 18: POST to `cancel/`."""

from datetime import timedelta

import pytest
from django.utils import timezone

from async_accept.models import Job
from tests.contract.conftest import ACTIVE, url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("state", ACTIVE)
def test_active_job(job, alice, state):
    """Contract 3, 9, 11: 202 with the document, repeatable; Retry-After by its age."""
    running = job(state, created_at=timezone.now() - timedelta(minutes=5))
    response = alice.post(url(running, "cancel/"))
    assert response.status_code == 202
    assert response.headers["Location"] == f"{alice.base}{url(running, 'result/')}"
    assert response.json()["status"] == ("canceled" if state == "accepted" else "canceling")
    assert state == "accepted" or response.headers["Retry-After"] == "5"
    assert alice.post(url(running, "cancel/")).status_code == (200 if state == "accepted" else 202)


@pytest.mark.parametrize("expired", [False, True], ids=["kept", "expired"])
@pytest.mark.parametrize(("state", "status"), [("succeeded", 409), ("failed", 409), ("canceled", 200)])
def test_ended_job(job, alice, state, status, expired):
    """Contract 9: 409 if it has ended otherwise, 200 if it is canceled, 409 if it is expired."""
    if expired and state == "canceled":
        status = 409
    response = alice.post(url(job(state, is_expired=expired), "cancel/"))
    assert response.status_code == status
    if status == 409:
        assert response.json()["code"] == "already-ended"
        assert response.headers["Content-Type"] == "application/problem+json"
    else:
        assert response.json()["status"] == state


def test_it_reaches_the_worker(alice, worker):
    """Contract 9: running, canceling, canceled; R is a 409 problem then."""
    accepted = alice.post("/api/gates/free/", {"name": "shut"})
    alice.until(accepted, "running")
    monitor = accepted.headers["Operation-Location"]
    answer = alice.post(f"{monitor}cancel/")
    assert (answer.status_code, answer.json()["status"]) == (202, "canceling")
    alice.until(accepted, "canceled")
    result = alice.get(accepted.headers["Location"])
    assert (result.status_code, result.json()["code"]) == (409, "canceled")


def test_a_job_that_is_purged_meanwhile_is_404(job, alice, monkeypatch):
    """Contract 9, 18: the relay may purge the row between two statements of a request."""
    path = url(job("canceled"), "cancel/")
    monkeypatch.setattr(Job, "is_active", True)
    monkeypatch.setattr(Job, "cancel", lambda self: Job.objects.all().delete() and False)
    response = alice.post(path)
    assert (response.status_code, response.json()["code"]) == (404, "not-found")
