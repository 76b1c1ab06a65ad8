"""Contract 7, 8: limits to the byte and to the job."""

import json
import re

import pytest

from async_accept.models import Job
from tests.contract.cases import SUM, every_view

pytestmark = pytest.mark.django_db(transaction=True)

#: The policy "small" says so.
MOST_BYTES = 200


@pytest.mark.parametrize(("length", "status"), [(MOST_BYTES, 202), (MOST_BYTES + 1, 413)])
def test_the_announced_length_counts_to_the_byte(alice, length, status):
    """Contract 8: as large as allowed is allowed."""
    body = json.dumps(SUM).ljust(length)
    headers = {"Content-Type": "application/json"}
    response = alice("POST", "/api/policies/small/class-task/", data=body, headers=headers)
    assert response.status_code == status
    assert Job.objects.count() == (status == 202)


@pytest.mark.parametrize(("digits", "status"), [(188, 202), (189, 413)])
def test_the_stored_size_counts_to_the_byte(alice, digits, status):
    """Contract 8: what is shorter on the wire counts by the JSON that is kept."""
    body = f"x={'1' * digits}&y=4"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert len(body) < MOST_BYTES
    response = alice("POST", "/api/policies/small/class-task/", data=body, headers=headers)
    assert response.status_code == status, response.text
    assert [len(json.dumps(job.input, separators=(",", ":"))) for job in Job.objects.all()] == (
        [MOST_BYTES] if status == 202 else []
    )


@pytest.mark.parametrize(("length", "status"), [(1_000, 202), (1_001, 413)])
def test_the_setting_counts_if_the_view_says_nothing(alice, configure, length, status):
    """Contract 8: ``MAX_INPUT_BYTES``."""
    configure(MAX_INPUT_BYTES=1_000)
    body, headers = json.dumps(SUM).ljust(length), {"Content-Type": "application/json"}
    assert alice("POST", "/api/policies/always/class/", data=body, headers=headers).status_code == status


# --- Caps ----------


@every_view
def test_too_many_active_jobs_are_429(case, alice):
    """Contract 7: with Retry-After, before the insert; a repeat of a key is no further job."""
    url = case.url("capped")
    for key in ("a", "b"):
        assert alice(case.method, url, case.data, headers={"Idempotency-Key": key}).status_code == 202
    response = alice(case.method, url, case.data)
    assert response.status_code == 429
    assert re.fullmatch(r"[1-9]\d*", response.headers["Retry-After"])
    assert "Prefer" in response.headers["Vary"]
    assert Job.objects.count() == 2
    assert alice(case.method, url, case.data, headers={"Idempotency-Key": "a"}).status_code == 202
    Job.objects.first().cancel()
    assert alice(case.method, url, case.data).status_code == 202


def test_a_cap_is_of_one_operation(alice, bob):
    """Contract 7: a full operation leaves room for others, and is full for everybody."""
    paths = [f"/api/policies/capped/{kind}/" for kind in ("class", "class-task")]
    first = [alice.post(paths[0], SUM).status_code for _ in range(3)]
    assert first == [202, 202, 429]
    assert bob.post(paths[0], SUM).status_code == 429
    assert alice.post(paths[1], SUM).status_code == 202


def test_a_cap_per_owner_is_of_all_operations(alice, bob):
    """Contract 7: whatever the open jobs are; those of others and those that have ended do not count."""
    path = "/api/policies/capped-each/class/"
    for client in (alice, bob):
        client.post("/api/policies/always/class/", SUM)
    assert [alice.post(path, SUM).status_code for _ in range(2)] == [202, 429]
    Job.objects.filter(owner__username="alice").first().cancel()
    assert alice.post(path, SUM).status_code == 202


def test_anonymous_callers_have_no_common_owner(anybody, configure):
    """Contract 7: a cap per owner does not count them."""
    configure(MAX_ACTIVE_PER_OWNER=1)
    assert [anybody.post("/api/open-echo/", {"a": n}).status_code for n in range(3)] == [202] * 3


def test_a_refusal_comes_before_the_insert(alice, configure):
    """Contract 7: no job, no file, no key is left of it."""
    configure(MAX_ACTIVE_PER_OWNER=1)
    assert alice.post("/api/policies/always/class/", SUM).status_code == 202
    before = list(Job.objects.values())
    refused = alice.post("/api/policies/always/class/", SUM, headers={"Idempotency-Key": "k"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
    # in the host view's own format
    assert refused.json() == {"detail": "Too many jobs are active.", "code": "too-many-jobs"}
    assert list(Job.objects.values()) == before
