"""Contract 5 and 6: what makes two requests the same one, and what does not."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from async_accept.conf import DEFAULTS
from async_accept.jobs.keys import forget_expired
from async_accept.models import Job, JoinedKey
from tests.contract.cases import SUM
from tests.testapp import contract_tasks
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/policies/always/class/"
KEY = {"Idempotency-Key": "k"}


def test_the_query_string_is_payload(alice):
    """Contract 5: the same body at another query string is another request."""
    first = alice.post(URL, SUM, params={"dry": "1"}, headers=KEY)
    same = alice.post(URL, SUM, params={"dry": "1"}, headers=KEY)
    other = alice.post(URL, SUM, params={"dry": "0"}, headers=KEY)
    assert (first.status_code, same.status_code, other.status_code) == (202, 202, 422)
    assert same.headers["Location"] == first.headers["Location"]


def test_the_method_is_part_of_the_scope(alice):
    """Contract 5: PUT, PATCH and DELETE of one URL under one key are three requests."""
    path = f"/api/policies/always/notes/{Note.objects.create(slug='a', title='A').pk}/"
    data = {"slug": "b", "title": "B"}
    answers = [alice(method, path, data, headers=KEY) for method in ("PUT", "PATCH", "DELETE")]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.headers["Location"] for answer in answers}) == Job.objects.count() == 3


def test_another_object_is_another_route(alice):
    """Contract 5: the same key for the same change of two objects."""
    for slug in ("a", "b"):
        note = Note.objects.create(slug=slug, title=slug)
        path = f"/api/policies/always/notes/{note.pk}/"
        assert alice("PATCH", path, {"title": "C"}, headers=KEY).status_code == 202
    assert Job.objects.count() == 2


@pytest.mark.parametrize(
    "body", ['{"y": 4, "x": 3}', '{"x":3,"y":4}', '\n{ "x" : 3,\n  "y" : 4 }', '{"\\u0078": 3, "y": 4}']
)
def test_the_payload_is_what_it_says(alice, body):
    """Contract 5: the order of members, blanks and escapes make no other payload."""
    first = alice.post(URL, SUM, headers=KEY)
    headers = KEY | {"Content-Type": "application/json"}
    again = alice("POST", URL, data=body, headers=headers)
    assert (again.status_code, again.headers["Location"]) == (202, first.headers["Location"])


@pytest.mark.parametrize("data", [{"x": 3, "y": 5}, {"x": 3, "y": 4, "z": None}, {"x": 3, "y": "4"}])
def test_another_payload(alice, data):
    """Contract 5: another value, another member, and another type are another payload."""
    assert alice.post(URL, SUM, headers=KEY).status_code == 202
    assert alice.post(URL, data, headers=KEY).status_code == 422


def test_a_list_has_its_order(alice):
    """Contract 5: that of a list is part of what it says."""
    notes = [{"slug": slug, "title": slug} for slug in "ab"]
    assert alice.post("/api/notes/", notes, headers=KEY).status_code == 202
    assert alice.post("/api/notes/", notes[::-1], headers=KEY).status_code == 422


def test_keys_are_told_apart_by_their_case(alice):
    """Contract 5: a key is opaque."""
    for key in ("k", "K", "k1"):
        assert alice.post(URL, SUM, headers={"Idempotency-Key": key}).status_code == 202
    assert Job.objects.count() == 3


@pytest.mark.parametrize(
    "again",
    [
        {"Prefer": "return=minimal"},
        {"Prefer": "respond-async, wait=0"},
        {"Accept": "*/*"},
        {"Accept-Language": "de"},
        {"X-Request-Id": "other", "User-Agent": "other"},
    ],
)
def test_how_a_client_wants_its_answer_is_no_payload(alice, again):
    """Contract 5: a repeat may ask for the answer in another form."""
    first = alice.post(URL, SUM, headers=KEY)
    second = alice.post(URL, SUM, headers=KEY | again)
    assert second.status_code == 202
    for name in ("Location", "Operation-Location", "Content-Location", "Link", "Cache-Control", "Vary"):
        assert second.headers[name] == first.headers[name]


@pytest.mark.parametrize("end", ["succeeded", "failed", "canceled"])
def test_a_repeat_after_the_end_is_answered_by_the_first_job(end, alice, worker):
    """Contract 5: a client that lost the first answer learns how it ended; asking again is for ``rerun/``."""
    data = {"name": "k", "refuse": end == "failed"}
    first = alice.post("/api/gates/free/", data, headers=KEY)
    if end == "canceled":
        alice.post(f"{first.headers['Operation-Location']}cancel/")
    else:
        contract_tasks.gate("k").set()
    alice.until(first, end)
    again = alice.post("/api/gates/free/", data, headers=KEY)
    assert (again.status_code, again.json()["status"]) == (202, end)
    assert again.headers["Location"] == first.headers["Location"]
    assert Job.objects.count() == 1


def test_a_key_lives_as_long_as_the_setting_says(alice, settings):
    """Contract 5: to the end of that time, and no longer; counted from the 202."""
    first = alice.post(URL, SUM, headers=KEY)
    lifetime = DEFAULTS["IDEMPOTENCY_KEY_LIFETIME"]
    Job.objects.update(created_at=timezone.now() - lifetime * 0.99)
    assert alice.post(URL, SUM, headers=KEY).headers["Location"] == first.headers["Location"]
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"IDEMPOTENCY_KEY_LIFETIME": timedelta(hours=1)}
    second = alice.post(URL, SUM, headers=KEY)
    assert (second.status_code, Job.objects.count()) == (202, 2)
    assert second.headers["Location"] != first.headers["Location"]
    third = alice.post(URL, SUM, headers=KEY)
    assert third.headers["Location"] == second.headers["Location"]


def test_a_404_and_a_full_house_leave_the_key_free(alice):
    """Contract 5: nothing was stored, so nothing holds the key."""
    path = "/api/policies/always/notes/1000000/"
    assert alice("PATCH", path, {"title": "B"}, headers=KEY).status_code == 404
    Note.objects.create(pk=1000000, slug="a", title="A")
    assert alice("PATCH", path, {"title": "C"}, headers=KEY).status_code == 202

    capped = "/api/policies/capped/class/"
    assert [alice.post(capped, SUM).status_code for _ in range(2)] == [202, 202]
    assert alice.post(capped, {"x": 0, "y": 0}, headers=KEY).status_code == 429
    Job.objects.filter(operation__startswith="sum").first().cancel()
    assert alice.post(capped, SUM, headers=KEY).status_code == 202


def test_too_large_and_refused_as_active_leave_the_key_free(alice):
    """Contract 5, 6, 8: so do 413 and 409."""
    small = "/api/policies/small/class/"
    assert alice.post(small, SUM | {"z": "x" * 300}, headers=KEY).status_code == 413
    assert alice.post(small, SUM, headers=KEY).status_code == 202

    refuse = "/api/gates/refuse/"
    first = alice.post(refuse, {"name": "one"})
    assert alice.post(refuse, {"name": "one"}, headers=KEY).status_code == 409
    alice.post(f"{first.headers['Operation-Location']}cancel/")
    assert alice.post(refuse, {"name": "one"}, headers=KEY).status_code == 202


def test_anonymous_and_known_callers_share_no_key(alice, anybody):
    """Contract 5: an anonymous key is scoped by the payload, and by being anonymous."""
    path, data = "/api/open-gates/free/", {"name": "one"}
    anonymous, known = anybody.post(path, data, headers=KEY), alice.post(path, data, headers=KEY)
    assert (anonymous.status_code, known.status_code) == (202, 202)
    assert anonymous.headers["Location"] != known.headers["Location"]


# --- One active job ----------


def test_the_key_of_a_repeat_comes_before_that_of_the_active_job(alice):
    """Contract 5, 6: the same Idempotency-Key with another payload is 422, also while such a job is active."""
    first = alice.post("/api/gates/join/", {"name": "one"}, headers=KEY)
    assert alice.post("/api/gates/join/", {"name": "one", "refuse": True}, headers=KEY).status_code == 422
    assert alice.post("/api/gates/join/", {"name": "two"}, headers=KEY).status_code == 422
    joined = alice.post("/api/gates/join/", {"name": "one", "refuse": True})
    assert joined.headers["Location"] == first.headers["Location"]


def test_a_repeat_is_no_second_request(alice):
    """Contract 5, 6: where a second request is refused, the repeat of the first one is not."""
    first = alice.post("/api/gates/refuse/", {"name": "one"}, headers=KEY)
    again = alice.post("/api/gates/refuse/", {"name": "one"}, headers=KEY)
    other = alice.post("/api/gates/refuse/", {"name": "one"}, headers={"Idempotency-Key": "other"})
    assert (again.status_code, other.status_code) == (202, 409)
    assert again.headers["Location"] == first.headers["Location"]
    assert set(json.loads(other.text)) == {"detail"}


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


def test_no_anonymous_caller_joins_another(anybody):
    """Contract 6: nobody knows whether it is the same one, so nobody is led to another's job."""
    assert anybody.post("/api/open-gates/join/", {"name": "one"}).status_code == 202
    assert anybody.post("/api/open-gates/join/", {"name": "one"}).status_code == 409


def test_a_canceled_job_is_active_until_it_has_stopped(alice):
    """Contract 6: canceling is active; canceled is not."""
    alice.post("/api/gates/refuse/", {"name": "one"})
    job = Job.objects.get()
    job.claim("w", 1)
    job.cancel()
    assert alice.post("/api/gates/refuse/", {"name": "one"}).status_code == 409
    job.end_canceled()
    assert alice.post("/api/gates/refuse/", {"name": "one"}).status_code == 202


# --- A key and an active key ---------------------------------------------------------------------------------------

JOIN = "/api/gates/join/"


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


def test_a_key_that_joined_is_held_to_it_where_nothing_is_joined(alice, joined):
    """Contract 5, 6: 422, also for a payload that has no active key."""
    other = alice.post(JOIN, {"name": "anybody"}, headers=KEY)
    assert (other.status_code, Job.objects.count()) == (422, 1)
