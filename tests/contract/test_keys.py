"""Contract 5: one key, one job."""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from async_accept.conf import DEFAULTS
from async_accept.exceptions import BrokerUnavailable
from async_accept.jobs import keys
from async_accept.jobs.broker import Broker
from async_accept.models import Job
from tests.contract.cases import SUM, every_view, every_view_with_input
from tests.testapp import contract_tasks
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/policies/always/class/"
KEY = {"Idempotency-Key": "k"}


@pytest.fixture(params=["here", "elsewhere"])
def arrival(request, monkeypatch):
    """A repeat comes to the process that has seen its key, which looks it up, or to one whose INSERT finds it."""
    if request.param == "elsewhere":
        monkeypatch.setattr(keys, "is_seen", lambda key_hash: False)


#: For tests of repeats.
wherever_it_arrives = pytest.mark.usefixtures("arrival")


def break_broker(monkeypatch):
    def down(*args, **kwargs):
        raise BrokerUnavailable("down")

    monkeypatch.setattr(Broker, "check", down)


@wherever_it_arrives
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


@wherever_it_arrives
@every_view
def test_repeat_while_it_runs_and_after_it_ended(case, alice, worker):
    """Contract 5: also when it has ended: the object is gone then, or its slug is taken by what was made."""
    url = case.url()
    first = alice(case.method, url, case.data, headers=KEY)
    alice.follow(first)
    again = alice(case.method, url, case.data, headers=KEY)
    assert again.status_code == 202
    assert again.headers["Location"] == first.headers["Location"]
    assert alice.get(again.headers["Location"]).status_code == case.status
    assert Job.objects.count() == 1


@wherever_it_arrives
@pytest.mark.parametrize("end", ["failed", "canceled"])
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


@pytest.mark.parametrize(
    "wish",
    [
        {"Prefer": "return=minimal"},
        {"Prefer": "respond-async, wait=0"},
        {"Accept": "*/*"},
        {"Accept-Language": "de"},
        {"X-Request-Id": "other", "User-Agent": "other"},
    ],
)
def test_a_repeat_may_ask_for_another_form_of_the_answer(alice, wish):
    """Contract 5: these headers are no part of the payload."""
    first = alice.post(URL, SUM, headers=KEY)
    second = alice.post(URL, SUM, headers=KEY | wish)
    assert second.status_code == 202
    for name in ("Location", "Operation-Location", "Content-Location", "Link", "Cache-Control", "Vary"):
        assert second.headers[name] == first.headers[name]


@wherever_it_arrives
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


def test_the_hosts_own_refusals_come_before_a_repeat(alice, anybody):
    """Contract 2, 5: authentication, permissions, throttles and parsers of the view."""
    key = {"Idempotency-Key": "k"}
    assert alice.post(URL, SUM, headers=key).status_code == 202
    assert anybody.post(URL, SUM, headers=key).status_code == 401
    assert alice.post(URL, SUM, headers=key | {"X-Forbid": "1"}).status_code == 403
    assert alice.post(URL, SUM, headers=key | {"X-Throttle": "1"}).status_code == 429
    broken = alice("POST", URL, data="{", headers=key | {"Content-Type": "application/json"})
    assert broken.status_code == 400


@wherever_it_arrives
def test_a_repeat_needs_no_broker(alice, monkeypatch):
    """Contract 5, 7: the first answer again, when a new job would be refused."""
    url = "/api/policies/insisting/class/"
    first = alice.post(url, SUM, headers=KEY)
    break_broker(monkeypatch)
    again = alice.post(url, SUM, headers=KEY)
    assert (again.status_code, again.headers["Location"]) == (202, first.headers["Location"])
    assert alice.post(url, SUM).status_code == 503


# --- The key itself ----------


@every_view
def test_required_key_missing_is_400(case, alice):
    """Contract 5: required by the view and missing: 400 with a pointer to documentation."""
    response = alice(case.method, case.url("keyed"), case.data)
    assert response.status_code == 400
    assert "https://" in response.json()["detail"]
    assert "idempotency-key-missing" in response.json()["detail"]
    assert not Job.objects.exists()
    accepted = alice(case.method, case.url("keyed"), case.data, headers=KEY)
    assert accepted.status_code == 202


@every_view
def test_a_key_is_looked_at_before_an_answer_at_once(case, alice):
    """Contract 5: malformed, or required and missing, is 400 in every mode, and before the work."""
    url = case.url("keyed-prefer")
    before = list(Note.objects.values())
    assert alice(case.method, url, case.data).status_code == 400
    assert alice(case.method, url, case.data, headers={"Idempotency-Key": "a b"}).status_code == 400
    assert list(Note.objects.values()) == before
    answer = alice(case.method, url, case.data, headers=KEY)
    assert (answer.status_code, Job.objects.count()) == (case.status, 0)


def test_reads_need_no_key(alice):
    """Contract 5: nor is one looked at."""
    for policy in ("keyed", "keyed-prefer"):
        for method in ("GET", "HEAD", "OPTIONS"):
            for headers in ({}, {"Idempotency-Key": "a b"}):
                assert alice(method, f"/api/policies/{policy}/notes/", headers=headers).status_code == 200


def test_ignored_key_makes_two_jobs(alice):
    """Contract 5: a view may ignore keys."""
    for _ in range(2):
        url = "/api/policies/unkeyed/class/"
        assert alice.post(url, SUM, headers={"Idempotency-Key": "\x7f"}).status_code == 202
    assert Job.objects.count() == 2


def test_malformed_key_is_400(alice):
    """Contract 5: 1 to 255 visible ASCII characters, else 400."""
    quoted = ('""', '"a b"', '"with \\"a space\\""', '"unclosed', '"a", "b"')
    for key in (*quoted, "", "a b", "a,a", "a, a", "k" * 256, "ключ".encode(), "\x80"):
        assert alice.post(URL, SUM, headers={"Idempotency-Key": key}).status_code == 400, key
    assert not Job.objects.exists()


def test_sound_key_is_202(alice):
    """Contract 5: every visible ASCII character counts, and so does its case."""
    sound = ("k", "K", "k1", "k" * 255, "!~#$%&'()", '"a,b"', '"with\\"quotes\\""')
    for key in sound:
        assert alice.post(URL, SUM, headers={"Idempotency-Key": key}).status_code == 202, key
    assert Job.objects.count() == len(sound)


# --- Its payload ----------


@wherever_it_arrives
@every_view_with_input
def test_same_key_other_payload_is_422(case, alice):
    """Contract 5: another payload under the same key is refused."""
    first = alice(case.method, case.url(), case.data, headers=KEY)
    assert first.status_code == 202
    other = {**case.data, "extra": 1}
    response = alice(case.method, case.url(), other, headers=KEY)
    assert response.status_code == 422
    assert "Prefer" in response.headers["Vary"]
    assert Job.objects.count() == 1


@wherever_it_arrives
@every_view_with_input
def test_what_fails_under_a_known_key_is_told_of_the_other_payload(case, alice):
    """Contract 5: 422 comes before what is wrong with it; without an earlier job it stays a 400."""
    url, key = case.url(), {"Idempotency-Key": "k"}
    assert alice(case.method, url, case.bad, headers=key).status_code == 400
    assert alice(case.method, url, case.data, headers=key).status_code == 202
    assert alice(case.method, url, case.bad, headers=key).status_code == 422
    assert Job.objects.count() == 1


@wherever_it_arrives
def test_the_query_string_is_payload(alice):
    """Contract 5: the same body at another query string is another request."""
    first = alice.post(URL, SUM, params={"dry": "1"}, headers=KEY)
    same = alice.post(URL, SUM, params={"dry": "1"}, headers=KEY)
    other = alice.post(URL, SUM, params={"dry": "0"}, headers=KEY)
    assert (first.status_code, same.status_code, other.status_code) == (202, 202, 422)
    assert same.headers["Location"] == first.headers["Location"]


@pytest.mark.parametrize(
    "body", ['{"y": 4, "x": 3}', '{"x":3,"y":4}', '\n{ "x" : 3,\n  "y" : 4 }', '{"\\u0078": 3, "y": 4}']
)
def test_the_same_payload(alice, body):
    """Contract 5: the order of members, blanks and escapes make no other payload."""
    first = alice.post(URL, SUM, headers=KEY)
    again = alice("POST", URL, data=body, headers=KEY | {"Content-Type": "application/json"})
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


# --- Its scope ----------


def test_scope_is_owner_method_and_route(alice, bob):
    """Contract 5: another user's key is another key; so is another method's and another route's."""
    key = {"Idempotency-Key": "k"}
    urls = {
        client.post(path, SUM, headers=key).headers["Location"]
        for client in (alice, bob)
        for path in (URL, "/api/policies/always/function/")
    }
    assert len(urls) == Job.objects.count() == 4


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


@wherever_it_arrives
def test_anonymous_callers_share_nothing(anybody):
    """Contract 5: the payload is part of an anonymous key, and nothing of anybody's job is revealed."""
    key = {"Idempotency-Key": "k"}
    first = anybody.post("/api/open-echo/", {"a": 1}, headers=key)
    other = anybody.post("/api/open-echo/", {"a": 2}, headers=key)
    again = anybody.post("/api/open-echo/", {"a": 1}, headers=key)
    assert (first.status_code, other.status_code) == (202, 202)
    assert other.headers["Location"] != first.headers["Location"] == again.headers["Location"]


def test_anonymous_and_known_callers_share_no_key(alice, anybody):
    """Contract 5: an anonymous key is scoped by the payload, and by being anonymous."""
    path, data = "/api/open-gates/free/", {"name": "one"}
    anonymous, known = anybody.post(path, data, headers=KEY), alice.post(path, data, headers=KEY)
    assert (anonymous.status_code, known.status_code) == (202, 202)
    assert anonymous.headers["Location"] != known.headers["Location"]


# --- Its life ----------


def test_a_refused_request_leaves_its_key_free(alice, anybody, monkeypatch):
    """Contract 5, 7: 400, 401, 403, 429 and 503 leave the key free."""
    url = "/api/policies/insisting/class/"
    assert alice.post(url, {"x": -1}, headers=KEY).status_code == 400
    assert anybody.post(url, SUM, headers=KEY).status_code == 401
    assert alice.post(url, SUM, headers=KEY | {"X-Forbid": "1"}).status_code == 403
    assert alice.post(url, SUM, headers=KEY | {"X-Throttle": "1"}).status_code == 429
    with monkeypatch.context() as patch:
        break_broker(patch)
        assert alice.post(url, SUM, headers=KEY).status_code == 503
    assert not Job.objects.exists()
    assert alice.post(url, {"x": 1, "y": 1}, headers=KEY).status_code == 202


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


@wherever_it_arrives
def test_a_key_lives_as_long_as_the_setting_says(alice, configure):
    """Contract 5: to the end of that time, and no longer; counted from the 202. Then it is free."""
    first = alice.post(URL, SUM, headers=KEY)
    lifetime = DEFAULTS["IDEMPOTENCY_KEY_LIFETIME"]
    Job.objects.update(created_at=timezone.now() - lifetime * 0.99)
    assert alice.post(URL, SUM, headers=KEY).headers["Location"] == first.headers["Location"]
    configure(IDEMPOTENCY_KEY_LIFETIME=timedelta(hours=1))
    second = alice.post(URL, {"x": 9, "y": 9}, headers=KEY)
    assert (second.status_code, Job.objects.count()) == (202, 2)
    assert second.headers["Location"] != first.headers["Location"]
    third = alice.post(URL, {"x": 9, "y": 9}, headers=KEY)
    assert third.headers["Location"] == second.headers["Location"]


@wherever_it_arrives
def test_deleting_a_job_frees_its_key(alice, worker):
    """Contract 5: a repeat never leads to a URL that is 404 for its owner."""
    key = {"Idempotency-Key": "k"}
    first = alice.post("/api/gates/free/", {"name": "kept"}, headers=key)
    alice.until(first, "running")
    assert alice.delete(first.headers["Operation-Location"]).status_code == 202
    second = alice.post("/api/gates/free/", {"name": "kept"}, headers=key)
    assert second.status_code == 202
    assert alice.get(second.headers["Operation-Location"]).status_code == 200
