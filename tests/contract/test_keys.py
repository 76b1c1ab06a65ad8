"""Contract 5 and 6: one key, one job; one active job."""

from functools import partial

import pytest
from django.utils import timezone

from async_accept.conf import DEFAULTS
from async_accept.exceptions import BrokerUnavailable
from async_accept.jobs.broker import Broker
from async_accept.models import Job
from tests.contract.cases import SUM, every_view, every_view_with_input
from tests.contract.conftest import together
from tests.testapp import contract_tasks
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/policies/always/class/"


@every_view
def test_same_key_and_payload_is_the_first_answer_again(case, alice):
    """Contract 5: 202 with the same URLs; quoted and bare values are the same key."""
    first = alice(case.method, case.url(), case.data, headers={"Idempotency-Key": '"k-1"'})
    again = alice(case.method, case.url(), case.data, headers={"Idempotency-Key": "k-1"})
    assert (first.status_code, again.status_code) == (202, 202)
    for name in ("Location", "Operation-Location", "Content-Location", "Link"):
        assert first.headers[name] == again.headers[name]
    assert first.json() == again.json()
    assert Job.objects.count() == 1


@every_view
def test_repeat_while_it_runs_and_after_it_ended(case, alice, worker):
    """Contract 5: also when it has ended: the object is gone then, or its slug is taken by what was made."""
    url = case.url()
    first = alice(case.method, url, case.data, headers={"Idempotency-Key": "k"})
    alice.follow(first)
    again = alice(case.method, url, case.data, headers={"Idempotency-Key": "k"})
    assert again.status_code == 202
    assert again.headers["Location"] == first.headers["Location"]
    assert alice.get(again.headers["Location"]).status_code == case.status
    assert Job.objects.count() == 1


@every_view
def test_a_repeat_that_asks_for_an_answer_at_once_does_no_work_again(case, alice, worker):
    """Contract 4, 5: what was accepted under a key is not done here under the same key."""
    url, key = case.url("prefer"), {"Idempotency-Key": "k"}
    first = alice(case.method, url, case.data, headers=key | {"Prefer": "respond-async"})
    alice.follow(first)
    before = list(Note.objects.values())
    again = alice(case.method, url, case.data, headers=key)
    assert (again.status_code, again.headers["Location"]) == (202, first.headers["Location"])
    assert (list(Note.objects.values()), Job.objects.count()) == (before, 1)


@every_view
def test_a_key_is_looked_at_before_an_answer_at_once(case, alice):
    """Contract 5: malformed, or required and missing, is 400 in every mode, and before the work."""
    url = case.url("keyed-prefer")
    before = list(Note.objects.values())
    assert alice(case.method, url, case.data).status_code == 400
    assert alice(case.method, url, case.data, headers={"Idempotency-Key": "a b"}).status_code == 400
    assert list(Note.objects.values()) == before
    answer = alice(case.method, url, case.data, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, Job.objects.count()) == (case.status, 0)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("policy", ["keyed", "keyed-prefer"])
def test_reads_need_no_key(method, policy, alice):
    """Contract 5: nor is one looked at."""
    for headers in ({}, {"Idempotency-Key": "a b"}):
        assert alice(method, f"/api/policies/{policy}/notes/", headers=headers).status_code == 200


def test_a_repeat_is_not_held_against_what_it_has_changed(alice, worker):
    """Contract 5: its ``If-Match`` names the version before, and the object may be closed to a second change."""
    url = "/api/generic/drafts/{}/"
    for headers, data in [({"If-Match": '"draft"'}, {"title": "new"}), ({}, {"title": "final"})]:
        Note.objects.all().delete()
        note = Note.objects.create(slug="a", title="draft")
        ask = partial(alice, "PATCH", url.format(note.pk), data)
        first = ask(headers=headers | {"Idempotency-Key": data["title"]})
        assert alice.follow(first).status_code == 200
        assert ask(headers=headers).status_code in (403, 412)
        again = ask(headers=headers | {"Idempotency-Key": data["title"]})
        assert (again.status_code, again.headers["Location"]) == (202, first.headers["Location"])


@every_view_with_input
def test_what_fails_under_a_known_key_is_told_of_the_other_payload(case, alice):
    """Contract 5: 422 comes before what is wrong with it; without an earlier job it stays a 400."""
    url, key = case.url(), {"Idempotency-Key": "k"}
    assert alice(case.method, url, case.bad, headers=key).status_code == 400
    assert alice(case.method, url, case.data, headers=key).status_code == 202
    assert alice(case.method, url, case.bad, headers=key).status_code == 422
    assert Job.objects.count() == 1


def test_the_hosts_own_refusals_come_before_a_repeat(alice, anybody):
    """Contract 2, 5: authentication, permissions, throttles and parsers of the view."""
    key = {"Idempotency-Key": "k"}
    assert alice.post(URL, SUM, headers=key).status_code == 202
    assert anybody.post(URL, SUM, headers=key).status_code == 401
    assert alice.post(URL, SUM, headers=key | {"X-Forbid": "1"}).status_code == 403
    assert alice.post(URL, SUM, headers=key | {"X-Throttle": "1"}).status_code == 429
    broken = alice("POST", URL, data="{", headers=key | {"Content-Type": "application/json"})
    assert broken.status_code == 400


def test_a_repeat_needs_no_broker(alice, monkeypatch):
    """Contract 5, 7: the first answer again, where a new job would be refused."""
    url, key = "/api/policies/insisting/class/", {"Idempotency-Key": "k"}
    first = alice.post(url, SUM, headers=key)

    def down(*args, **kwargs):
        raise BrokerUnavailable("down")

    monkeypatch.setattr(Broker, "check", down)
    again = alice.post(url, SUM, headers=key)
    assert (again.status_code, again.headers["Location"]) == (202, first.headers["Location"])
    assert alice.post(url, SUM).status_code == 503


@every_view_with_input
def test_same_key_other_payload_is_422(case, alice):
    """Contract 5: another payload under the same key is refused."""
    first = alice(case.method, case.url(), case.data, headers={"Idempotency-Key": "k"})
    assert first.status_code == 202
    other = {**case.data, "extra": 1}
    response = alice(case.method, case.url(), other, headers={"Idempotency-Key": "k"})
    assert response.status_code == 422
    assert "Prefer" in response.headers["Vary"]
    assert Job.objects.count() == 1


@every_view
def test_required_key_missing_is_400(case, alice):
    """Contract 5: required by the view and missing: 400 with a pointer to documentation."""
    response = alice(case.method, case.url("keyed"), case.data)
    assert response.status_code == 400
    assert "https://" in response.json()["detail"]
    assert "idempotency-key-missing" in response.json()["detail"]
    assert not Job.objects.exists()
    accepted = alice(case.method, case.url("keyed"), case.data, headers={"Idempotency-Key": "k"})
    assert accepted.status_code == 202


def test_ignored_key_makes_two_jobs(alice):
    """Contract 5: a view may ignore keys."""
    for _ in range(2):
        url = "/api/policies/unkeyed/class/"
        assert alice.post(url, SUM, headers={"Idempotency-Key": "\x7f"}).status_code == 202
    assert Job.objects.count() == 2


@pytest.mark.parametrize(
    "key",
    ["", '""', '"a b"', "a b", "k" * 256, '"unclosed', "ключ".encode(), "\x80", '"a", "b"', "a,a", "a, a"],
)
def test_malformed_key_is_400(alice, key):
    """Contract 5: 1 to 255 visible ASCII characters, else 400."""
    response = alice.post(URL, SUM, headers={"Idempotency-Key": key})
    assert response.status_code == 400, key
    assert not Job.objects.exists()


@pytest.mark.parametrize("key", ["k", "k" * 255, "!~#$%&'()", '"a,b"', '"with \\"quotes\\""'])
def test_sound_key_is_202(alice, key):
    """Contract 5: every visible ASCII character counts."""
    assert alice.post(URL, SUM, headers={"Idempotency-Key": key}).status_code in (
        202,
        400 if " " in key else 202,
    )


def test_scope_is_owner_method_and_route(alice, bob):
    """Contract 5: another user's key is another key; so is another method's and another route's."""
    key = {"Idempotency-Key": "k"}
    urls = {
        client.post(path, SUM, headers=key).headers["Location"]
        for client in (alice, bob)
        for path in (URL, "/api/policies/always/function/")
    }
    assert len(urls) == Job.objects.count() == 4


def test_anonymous_callers_share_nothing(anybody):
    """Contract 5: the payload is part of an anonymous key, and nothing of anybody's job is revealed."""
    key = {"Idempotency-Key": "k"}
    first = anybody.post("/api/open-echo/", {"a": 1}, headers=key)
    other = anybody.post("/api/open-echo/", {"a": 2}, headers=key)
    again = anybody.post("/api/open-echo/", {"a": 1}, headers=key)
    assert (first.status_code, other.status_code) == (202, 202)
    assert other.headers["Location"] != first.headers["Location"] == again.headers["Location"]


def test_a_refused_request_leaves_its_key_free(alice, anybody, monkeypatch):
    """Contract 5: 400, 401, 403, 404, 429 and 503 leave the key free."""
    url, key = "/api/policies/insisting/class/", {"Idempotency-Key": "k"}
    assert alice.post(url, {"x": -1}, headers=key).status_code == 400
    assert anybody.post(url, SUM, headers=key).status_code == 401
    assert alice.post(url, SUM, headers=key | {"X-Forbid": "1"}).status_code == 403
    assert alice.post(url, SUM, headers=key | {"X-Throttle": "1"}).status_code == 429

    def down(*args, **kwargs):
        raise BrokerUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(Broker, "check", down)
        assert alice.post(url, SUM, headers=key).status_code == 503
    assert not Job.objects.exists()
    assert alice.post(url, {"x": 1, "y": 1}, headers=key).status_code == 202


def test_key_expires(alice):
    """Contract 5: a key lives as long as the setting says, and is free then."""
    key = {"Idempotency-Key": "k"}
    first = alice.post(URL, SUM, headers=key)
    Job.objects.update(created_at=timezone.now() - DEFAULTS["IDEMPOTENCY_KEY_LIFETIME"] * 1.01)
    second = alice.post(URL, {"x": 9, "y": 9}, headers=key)
    assert second.status_code == 202
    assert second.headers["Location"] != first.headers["Location"]


def test_deleting_a_job_frees_its_key(alice, worker):
    """Contract 5: a repeat never leads to a URL that is 404 for its owner."""
    key = {"Idempotency-Key": "k"}
    first = alice.post("/api/gates/free/", {"name": "kept"}, headers=key)
    alice.until(first, "running")
    assert alice.delete(first.headers["Operation-Location"]).status_code == 202
    second = alice.post("/api/gates/free/", {"name": "kept"}, headers=key)
    assert second.status_code == 202
    assert alice.get(second.headers["Operation-Location"]).status_code == 200


def test_eight_at_once_make_one_job(alice):
    """Contract 5: also eight at once."""
    answers = together(8, lambda _: alice.post(URL, SUM, headers={"Idempotency-Key": "k"}))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.headers["Location"] for answer in answers}) == Job.objects.count() == 1


def test_hundreds_of_identical_requests_make_one_job(base, alice, worker):
    """Contract 5: 300 identical requests while the job runs and ends: one job, no 500."""
    from tests.contract.conftest import Client

    token = alice.session.headers["Authorization"].split()[1]
    clients = [Client(base, token) for _ in range(8)]
    answers = together(300, lambda i: clients[i % 8].post(URL, SUM, headers={"Idempotency-Key": "k"}))
    assert {getattr(answer, "status_code", answer) for answer in answers} == {202}
    assert len({answer.headers["Location"] for answer in answers}) == Job.objects.count() == 1
    assert Job.objects.get().attempt <= 1


def test_different_payloads_at_once_under_one_key(alice):
    """Contract 5: whoever is first wins, and the others are told (422)."""
    answers = together(8, lambda i: alice.post(URL, {"x": i, "y": 0}, headers={"Idempotency-Key": "k"}))
    assert sorted(answer.status_code for answer in answers) == [202] + [422] * 7
    assert Job.objects.count() == 1


# --- One active job ----------


def test_second_request_joins_the_active_job(alice, worker):
    """Contract 6: a second request gets that job, and after its end a new one."""
    first = alice.post("/api/gates/join/", {"name": "one"})
    second = alice.post("/api/gates/join/", {"name": "one"})
    other = alice.post("/api/gates/join/", {"name": "two"})
    assert first.headers["Location"] == second.headers["Location"] != other.headers["Location"]
    contract_tasks.gate("one").set()
    alice.follow(first)
    third = alice.post("/api/gates/join/", {"name": "one"})
    assert third.headers["Location"] != first.headers["Location"]


def test_second_request_is_refused(alice):
    """Contract 6: 409, as the view says."""
    assert alice.post("/api/gates/refuse/", {"name": "one"}).status_code == 202
    assert alice.post("/api/gates/refuse/", {"name": "one"}).status_code == 409
    assert Job.objects.count() == 1


def test_anothers_active_job_is_not_joined(alice, bob):
    """Contract 6: nobody is led to a job that is 404 for them."""
    alice.post("/api/gates/join/", {"name": "one"})
    assert bob.post("/api/gates/join/", {"name": "one"}).status_code == 409


def test_a_deleted_job_is_not_joined(alice, worker):
    """Contract 6: a job that its owner deleted while it ran is still active, but nobody can follow it."""
    first = alice.post("/api/gates/join/", {"name": "one"})
    alice.until(first, "running")
    alice.delete(first.headers["Operation-Location"])
    assert alice.post("/api/gates/join/", {"name": "one"}).status_code in (202, 409)
    joined = alice.post("/api/gates/join/", {"name": "one"})
    if joined.status_code == 202:
        assert alice.get(joined.headers["Location"]).status_code != 404


def test_active_key_holds_by_a_constraint(alice):
    """Contract 6: eight at once make one job, by a unique constraint."""
    answers = together(8, lambda _: alice.post("/api/gates/join/", {"name": "one"}))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.headers["Location"] for answer in answers}) == Job.objects.count() == 1
