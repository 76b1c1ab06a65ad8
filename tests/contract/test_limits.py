"""Contract 7, 8, 9: limits to the byte and to the job, and the list's filters and pages to the moment."""

import json
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import override_settings

from async_accept.models import Job
from async_accept.testing import make_job
from tests.contract.cases import SUM
from tests.contract.conftest import url

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
def test_the_setting_counts_where_the_view_says_nothing(alice, settings, length, status):
    """Contract 8: ``MAX_INPUT_BYTES``."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_INPUT_BYTES": 1_000}
    body, headers = json.dumps(SUM).ljust(length), {"Content-Type": "application/json"}
    assert alice("POST", "/api/policies/always/class/", data=body, headers=headers).status_code == status


# --- Caps ----------


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


def test_anonymous_callers_have_no_common_owner(anybody, settings):
    """Contract 7: a cap per owner is none for who has no name."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_ACTIVE_PER_OWNER": 1}
    assert [anybody.post("/api/open-echo/", {"a": n}).status_code for n in range(3)] == [202] * 3


@pytest.mark.parametrize(
    ("cap", "statuses"), [("MAX_ACTIVE_PER_OWNER", [202, 429]), ("MAX_ACTIVE_PER_OPERATION", [429, 429])]
)
def test_reruns_count_by_the_same_caps(job, alice, cap, statuses):
    """Contract 7: an open job of another owner's counts for the operation, and not for the owner."""
    done = job("failed")
    make_job(
        "tests.testapp.tasks.add", owner=get_user_model().objects.create(username="c"), operation="sums.add"
    )
    with override_settings(ASYNC_ACCEPT=django_settings.ASYNC_ACCEPT | {cap: 1}):
        assert [alice.post(url(done, "rerun/")).status_code for _ in range(2)] == statuses


def test_a_refusal_comes_before_the_insert(alice, settings):
    """Contract 7: no job, no file, no key is left of it."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_ACTIVE_PER_OWNER": 1}
    assert alice.post("/api/policies/always/class/", SUM).status_code == 202
    before = list(Job.objects.values())
    refused = alice.post("/api/policies/always/class/", SUM, headers={"Idempotency-Key": "k"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
    # in the host view's own format
    assert refused.json() == {"detail": "Too many jobs are active.", "code": "too-many-jobs"}
    assert list(Job.objects.values()) == before


# --- The list ----------


def listed(client, query: str) -> set[str]:
    response = client.get(f"/api/jobs/?{query}")
    assert response.status_code == 200, response.text
    return {item["id"] for item in response.json()["results"]}


def test_times_are_from_and_before(job, alice):
    """Contract 9: ``created_after`` is a moment that counts, ``created_before`` one that does not any more."""
    made = job("failed")
    moment = made.created_at
    step = timedelta(microseconds=1)
    pk = {str(made.pk)}
    for name, at, found in [
        ("created_after", moment, pk),
        ("created_after", moment + step, set()),
        ("created_before", moment, set()),
        ("created_before", moment + step, pk),
    ]:
        assert listed(alice, f"{name}={at.isoformat().replace('+', '%2B')}") == found, (name, at)


def test_filters_are_combined_and_whole(job, alice):
    """Contract 9: every filter narrows; an operation is named in full."""
    one = job("failed", operation="sums.add")
    job("failed", operation="sums.add.more")
    job("running", operation="sums.add")
    assert listed(alice, "operation=sums.add&status=failed") == {str(one.pk)}
    assert listed(alice, "operation=sums") == set()
    if connection.vendor != "mysql":  # whose usual collations ignore the case
        assert listed(alice, "operation=SUMS.ADD") == set()
    assert len(listed(alice, "status=failed,running,canceled")) == 3
    assert len(listed(alice, "unknown=1")) == 3


def test_every_status_is_found_by_its_name(job, alice):
    """Contract 9: the same spelling everywhere."""
    states = ("accepted", "running", "canceling", "succeeded", "failed", "canceled")
    made = {state: str(job(state).pk) for state in states}
    for state, pk in made.items():
        assert listed(alice, f"status={state}") == {pk}
        assert Job.objects.get(pk=pk).state == state


def test_pages(job, alice):
    """Contract 9: 50 a page, up to 200 when asked; pages keep their filters, and lead forth and back."""
    owner = get_user_model().objects.get(username="alice")
    made = [
        Job(owner=owner, operation="a.b", task="t", dispatch_at=job("accepted").dispatch_at)
        for _ in range(210)
    ]
    Job.objects.filter(operation="sums.add").delete()
    Job.objects.bulk_create(made)
    assert len(listed(alice, "")) == 50
    assert len(listed(alice, "page_size=100000")) == 200
    first = alice.get("/api/jobs/?operation=a.b&status=accepted&page_size=3").json()
    assert set(first) >= {"next", "previous", "results"}
    assert first["previous"] is None
    second = alice.get(first["next"]).json()
    assert "operation=a.b" in first["next"]
    ids = [item["id"] for item in first["results"] + second["results"]]
    assert ids == sorted((str(job.pk) for job in made), reverse=True)[:6]
    back = alice.get(second["previous"]).json()
    assert back["results"] == first["results"]


def test_a_page_holds_its_place(job, alice):
    """Contract 9: a cursor is a place, not a number: what comes or goes meanwhile shifts nothing."""
    old = [str(job("failed").pk) for _ in range(4)]
    page = alice.get("/api/jobs/?page_size=2").json()
    job("running")
    alice.delete(url(old[3]))
    rest = alice.get(page["next"]).json()["results"]
    assert [item["id"] for item in rest] == [old[1], old[0]]


def test_the_list_shows_what_the_monitor_shows(job, alice):
    """Contract 9: the same document, absolute URLs included."""
    for state in ("accepted", "running", "failed"):
        job(state)
    for item in alice.get("/api/jobs/").json()["results"]:
        assert alice.get(item["url"]).json() == item
