"""Contract 9, 11, 18: DELETE of the status monitor."""

import pytest

from async_accept.models import Job
from tests.contract.conftest import ACTIVE, ENDED, url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("state", ACTIVE)
def test_active_job(job, alice, state):
    """Contract 9, 11: 202 with the document as the job was left, and no header that a client would follow."""
    running = job(state)
    response = alice.delete(url(running))
    assert response.status_code == 202
    assert response.json()["id"] == str(running.pk)
    assert response.json()["status"] == ("canceled" if state == "accepted" else "canceling")
    assert response.headers["Cache-Control"] == "no-store"
    followed = {
        "Location",
        "Operation-Location",
        "Content-Location",
        "Retry-After",
        "ETag",
        "Link",
        "Refresh",
    }
    assert not followed & set(response.headers)
    assert Job.objects.filter(pk=running.pk).values_list("state", flat=True).first() in (None, "canceling")


@pytest.mark.parametrize("expired", [False, True], ids=["kept", "expired"])
@pytest.mark.parametrize("state", ENDED)
def test_ended_job(job, alice, state, expired):
    """Contract 9: 204, and 404 from now on."""
    done = job(state, is_expired=expired)
    response = alice.delete(url(done))
    assert (response.status_code, response.content) == (204, b"")
    assert alice.get(url(done)).status_code == alice.get(url(done, "result/")).status_code == 404
    assert not Job.objects.exists()


@pytest.mark.parametrize("state", ["accepted", "running", "succeeded"])
def test_afterwards_it_is_404_everywhere(job, alice, state):
    """Contract 9, 18: at every endpoint, with every tag, in the list, and for a second DELETE."""
    made = job(state)
    tag = alice.get(url(made)).headers["ETag"]
    alice.delete(url(made))
    for headers in ({}, {"If-None-Match": tag, "If-Match": tag, "Prefer": "wait=1"}):
        for method, endpoint in [
            *((method, end) for method in ("GET", "HEAD") for end in ("", "result/", "events/")),
            ("POST", "cancel/"),
            ("POST", "rerun/"),
            ("DELETE", ""),
        ]:
            assert alice(method, url(made, endpoint), headers=headers).status_code == 404, (method, endpoint)
    assert alice.get("/api/jobs/").json()["results"] == []
