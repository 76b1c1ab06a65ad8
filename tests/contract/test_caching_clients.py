"""CacheControl, a cache for ``requests`` that others have written, is never led astray (contract 11, 13)."""

from typing import Any

import pytest
import requests

from async_accept.http.not_modified import not_modified
from async_accept.models import Job
from tests.contract.cases import SUM
from tests.contract.conftest import UNKNOWN, Client, url
from tests.testapp import contract_tasks

cachecontrol = pytest.importorskip("cachecontrol", reason="needs CacheControl (extra: test)")
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cached(alice: Client) -> Client:
    """Alice, with a cache before her session."""
    client = alice.again()
    client.session.mount("http://", cachecontrol.CacheControlAdapter())
    return client


@pytest.fixture
def wire(cached: Client, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What came over the wire, status by status: to the caller of a cache a 304 is a 200."""
    statuses: list[int] = []
    adapter: Any = cached.session.get_adapter("http://")
    build = adapter.build_response

    def counted(request: Any, response: Any, from_cache: bool = False, *args: Any) -> requests.Response:
        statuses.append(0 if from_cache else response.status)
        return build(request, response, from_cache, *args)

    monkeypatch.setattr(adapter, "build_response", counted)
    return statuses


def test_nothing_new_is_304_and_reads_as_the_document(cached, wire, job):
    """Contract 11: the cache revalidates each time, and gives its caller what it has kept, with its headers."""
    running = job("running")
    first, second, third = (cached.get(url(running)) for _ in range(3))
    assert wire == [200, 304, 304]
    assert first.json() == second.json() == third.json()
    for name in ("ETag", "Cache-Control", "Retry-After", "Vary"):
        assert third.headers[name] == first.headers[name]


def test_every_change_is_seen_at_once(cached, wire, alice, job):
    """Contract 9, 11: no stale status, however often the cache was asked before."""
    waiting = job("accepted")
    seen = []
    for change in (
        lambda: Job.objects.get().claim("w", 1),
        lambda: alice.post(url(waiting, "cancel/")),
        lambda: Job.objects.get().end_canceled(),
    ):
        seen += [cached.get(url(waiting)).json()["status"] for _ in range(2)]
        change()
        not_modified.sent.clear()  # of another process, what this one remembers for a heartbeat
    done = cached.get(url(waiting))
    assert seen == ["accepted"] * 2 + ["running"] * 2 + ["canceling"] * 2
    assert done.json()["status"] == "canceled"
    assert "Retry-After" not in done.headers
    assert "Sunset" in done.headers


def test_a_202_is_never_kept(cached, alice, worker):
    """Contract 13: R is asked for anew until its answer has come, and the answer is there at once."""
    accepted = cached.post("/api/gates/free/", {"name": "cache"})
    cached.until(accepted, "running")
    assert [cached.get(accepted.headers["Location"]).status_code for _ in range(3)] == [202] * 3
    contract_tasks.gate("cache").set()
    alice.until(accepted, "succeeded")
    for _ in range(2):
        answer = cached.get(accepted.headers["Location"])
        assert (answer.status_code, answer.json()) == (200, {"passed": "cache"})


@pytest.mark.parametrize("state", ["failed", "canceled", "succeeded"])
def test_an_answer_is_not_kept_beyond_its_time(cached, job, state):
    """Contract 11, 13: a final answer is asked for again, so that it is gone when it has expired or was deleted."""
    done = job(state)
    before = cached.get(url(done, "result/")).status_code
    assert before == cached.get(url(done, "result/")).status_code == (200 if state == "succeeded" else 409)
    Job.objects.update(expires_at=done.finished_at)
    assert cached.get(url(done, "result/")).status_code == 410
    assert cached.delete(url(done)).status_code == 204
    assert cached.get(url(done, "result/")).status_code == cached.get(url(done)).status_code == 404


def test_a_404_is_no_answer_for_later(cached, alice):
    """Contract 18: nor is what is not there yet, or not for this caller."""
    path = url(UNKNOWN)
    assert [cached.get(path).status_code for _ in range(2)] == [404, 404]
    accepted = alice.post("/api/policies/always/class/", SUM)
    Job.objects.update(id=UNKNOWN)
    assert accepted.status_code == 202
    assert cached.get(path).status_code == 200


def test_one_cache_for_two_callers(cached, job, bob):
    """Contract 11, 18: what one was told is not told to the other, though the cache has it."""
    running = job("running")
    assert cached.get(url(running)).status_code == 200
    cached.session.headers["Authorization"] = bob.session.headers["Authorization"]
    assert cached.get(url(running)).status_code == 404
    assert cached.get(url(running, "result/")).status_code == 404


def test_it_follows_to_the_end(cached, wire, worker):
    """Contract 13: the smallest client behind a cache gets the answer, and nothing came out of the cache unasked."""
    answer = cached.follow(cached.post("/api/policies/always/class/", SUM))
    assert (answer.status_code, answer.json()) == (201, {"sum": 7})
    assert wire
    assert 0 not in wire
