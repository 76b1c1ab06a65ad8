"""Contract 1, 4 to 7, 9: POST to `rerun/`."""

import pytest
from django.contrib.auth import get_user_model

from async_accept.models import Job
from async_accept.testing import make_job
from tests.contract.conftest import ACTIVE, ENDED, url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("state", ACTIVE)
def test_active_job(job, alice, state):
    """Contract 9: 409 until it has ended."""
    response = alice.post(url(job(state), "rerun/"))
    assert (response.status_code, response.json()["code"]) == (409, "not-ended")
    assert Job.objects.count() == 1


@pytest.mark.parametrize("expired", [False, True], ids=["kept", "expired"])
@pytest.mark.parametrize("state", ENDED)
def test_ended_job(job, alice, state, expired):
    """Contract 1, 9: 202 as at accept, for a new job with the same input, linked both ways; final stays final."""
    old = job(state, is_expired=expired)
    response = alice.post(url(old, "rerun/"), headers={"Prefer": "respond-async"})
    assert response.status_code == 202
    new = response.json()
    assert response.headers["Location"] == new["result_url"]
    assert response.headers["Operation-Location"] == response.headers["Content-Location"] == new["url"]
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Preference-Applied"] == "respond-async"
    assert (new["status"], new["rerun_of"], new["operation"]) == ("accepted", str(old.pk), "sums.add")
    before = alice.get(url(old)).json()
    assert (before["status"], before["rerun_as"]) == (state, new["id"])
    assert (before["can_rerun"], new["can_rerun"]) == (True, False)
    assert Job.objects.get(pk=new["id"]).input == old.input


def test_minimal(job, alice):
    """Contract 4: ``return=minimal`` is honoured wherever a 202 is."""
    response = alice.post(url(job("failed"), "rerun/"), headers={"Prefer": "return=minimal"})
    assert (response.status_code, response.content) == (202, b"")
    assert response.headers["Preference-Applied"] == "return=minimal"


def test_without_input(job, alice):
    """Contract 9: 410 if the input is gone, and M says so before."""
    assert alice.get(url(job("failed", input=None))).json()["can_rerun"] is False
    response = alice.post(url(job("failed", input=None), "rerun/"))
    assert (response.status_code, response.json()["code"]) == (410, "input-gone")


def test_a_purge_meanwhile_does_not_stop_it(job, alice, monkeypatch):
    """Contract 9: the input was read with the old job, so the 202 can be kept."""
    path = url(job("canceled"), "rerun/")
    monkeypatch.setattr(Job, "can_rerun", property(lambda self: bool(Job.objects.ended().delete())))
    response = alice.post(path)
    assert response.status_code == 202
    assert str(Job.objects.get().pk) == response.json()["id"]


def test_it_can_be_waited_for(alice, worker):
    """Contract 4, 9: the new job gives its own answer, also to ``wait=N``."""
    first = alice.post("/api/policies/always/class/", {"x": 1, "y": 2})
    alice.follow(first)
    answer = alice.post(
        f"{first.headers['Operation-Location']}rerun/", headers={"Prefer": "respond-async, wait=10"}
    )
    assert (answer.status_code, answer.json()) == (201, {"sum": 3})
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert answer.headers["Operation-Location"] != first.headers["Operation-Location"]


# --- With a key ----------


def test_one_key_is_one_job(job, alice):
    """Contract 5: a repeat gets the same new job; for another old job the same key is another key."""
    old, other = job("failed"), job("failed")
    key = {"Idempotency-Key": '"k"'}
    first = alice.post(url(old, "rerun/"), headers=key)
    again = alice.post(url(old, "rerun/"), headers={"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.headers["Location"] == again.headers["Location"]
    assert alice.post(url(other, "rerun/"), headers=key).headers["Location"] != first.headers["Location"]
    assert Job.objects.filter(rerun_of=old.pk).count() == 1
    malformed = alice.post(url(old, "rerun/"), headers={"Idempotency-Key": "a b"})
    assert (malformed.status_code, malformed.json()["code"]) == (400, "idempotency-key-invalid")


def test_a_repeat_is_not_held_against_what_the_first_one_changed(job, alice):
    """Contract 5, 12: the first one has changed the tag, and the input may be gone by now."""
    old = job("failed")
    key = {"Idempotency-Key": "k", "If-Match": alice.get(url(old)).headers["ETag"]}
    first = alice.post(url(old, "rerun/"), headers=key)
    assert first.status_code == 202
    for _ in range(2):
        again = alice.post(url(old, "rerun/"), headers=key)
        assert (again.status_code, again.headers["Location"]) == (202, first.headers["Location"])
        Job.objects.filter(pk=old.pk).update(input=None)
        key.pop("If-Match", None)
    assert alice.post(url(old, "rerun/"), headers={"Idempotency-Key": "l"}).status_code == 410


# --- Caps and active keys ----------


@pytest.mark.parametrize(
    ("cap", "statuses"), [("MAX_ACTIVE_PER_OWNER", [202, 429]), ("MAX_ACTIVE_PER_OPERATION", [429, 429])]
)
def test_it_counts_by_the_same_caps(job, alice, configure, cap, statuses):
    """Contract 5, 7: another owner's active job counts for the operation only; a repeat needs no room."""
    done, key = job("failed"), {"Idempotency-Key": "k"}
    carol = get_user_model().objects.create(username="carol")
    make_job("tests.testapp.tasks.add", owner=carol, operation="sums.add")
    configure(**{cap: 1})
    first = alice.post(url(done, "rerun/"), headers=key)
    refused = alice.post(url(done, "rerun/"))
    assert [first.status_code, refused.status_code] == statuses
    assert refused.json()["code"] == "too-many-jobs"
    assert int(refused.headers["Retry-After"]) >= 1
    again = alice.post(url(done, "rerun/"), headers=key)
    assert (again.status_code, again.headers.get("Location")) == (statuses[0], first.headers.get("Location"))


@pytest.mark.parametrize(("rule", "status"), [("join", 202), ("refuse", 409)])
def test_it_takes_the_active_key_too(alice, bob, rule, status):
    """Contract 6: one active job, however it was asked for; a second one joins or is refused, as the view says."""
    gate = f"/api/gates/{rule}/"
    first = alice.post(gate, {"name": "one"})
    monitor = first.headers["Operation-Location"]
    alice.post(monitor + "cancel/")
    rerun = alice.post(monitor + "rerun/")
    assert rerun.status_code == 202
    for second in (alice.post(gate, {"name": "one"}), alice.post(monitor + "rerun/")):
        assert second.status_code == status
        if status == 202:
            assert second.headers["Location"] == rerun.headers["Location"]
    assert bob.post(gate, {"name": "one"}).status_code == 409
    assert alice.post(gate, {"name": "two"}).status_code == 202
    assert Job.objects.count() == 3
    assert alice.get(monitor).json()["rerun_as"] == rerun.json()["id"]


@pytest.mark.parametrize("path", ["class/", "function-task/"])
def test_the_view_decides_again(alice, path):
    """Contract 2, 7, 15: its permissions, throttles and caps, in the format of the job's URLs."""
    first = alice.post(f"/api/policies/capped/{path}", {"x": 1, "y": 2})
    monitor = first.headers["Operation-Location"]
    alice.post(monitor + "cancel/")
    for header, status, code in (("X-Forbid", 403, "permission-denied"), ("X-Throttle", 429, "throttled")):
        refused = alice.post(monitor + "rerun/", headers={header: "1"})
        assert (refused.status_code, refused.json()["code"]) == (status, code)
        assert refused.headers["Content-Type"] == "application/problem+json"
    assert [alice.post(monitor + "rerun/").status_code for _ in range(3)] == [202, 202, 429]
    assert Job.objects.active().count() == 2
