"""Contract 5, 6, 7, 12, 14: what many do at one moment, with one outcome."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count, takewhile
from typing import Any

import pytest

from async_accept.models import Job
from tests.contract.cases import SUM
from tests.contract.conftest import SECONDS, Client, together, url
from tests.testapp import contract_tasks
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)

KEY = {"Idempotency-Key": "k"}
THREADS = 16
#: Requests, four for each thread.
MANY = 64


def crowd(caller: Client) -> list[Client]:
    """Return the same caller as often as there are threads: each keeps a connection of its own."""
    return [caller.again() for _ in range(THREADS)]


def at_once(number: int, callers: Iterable[Client], do: Callable[[Client, int], Any]) -> list[Any]:
    callers = list(callers)
    answers = together(
        number, lambda index: do(callers[index % THREADS], index), threads=min(number, THREADS)
    )
    for answer in answers:
        assert not isinstance(answer, Exception), answer
    return answers


def statuses(answers: list[Any]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def test_identical_requests_before_during_and_after_the_work(alice, worker):
    """Contract 5: one job, one attempt, one effect; all are told the same URLs."""
    gate = contract_tasks.gate("k")

    def post(caller: Client, index: int) -> Any:
        if index == MANY // 2:
            gate.set()
        return caller.post("/api/gates/free/", {"name": "k"}, headers=KEY)

    answers = at_once(MANY, crowd(alice), post)
    assert statuses(answers) == {202: MANY}
    for name in ("Location", "Operation-Location", "Content-Location", "Link"):
        assert len({answer.headers[name] for answer in answers}) == 1
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert alice.follow(answers[0]).json() == {"passed": "k"}
    [job] = Job.objects.all()
    assert job.attempt == 1


def test_creations_under_one_key_create_one(alice, worker):
    """Contract 5: nor does the object appear twice; who comes when it is there is told by the view itself (400)."""
    note = {"slug": "once", "title": "Once"}
    path = "/api/policies/always/notes/"
    answers = at_once(MANY, crowd(alice), lambda caller, _: caller.post(path, note, headers=KEY))
    counted = statuses(answers)
    assert set(counted) <= {202, 400}
    assert len({answer.headers["Location"] for answer in answers if answer.status_code == 202}) == 1
    assert Job.objects.count() == 1
    alice.follow(next(answer for answer in answers if answer.status_code == 202))
    assert Note.objects.filter(slug="once").count() == 1


def test_other_payloads_under_one_key(alice):
    """Contract 5: of eight at once, one is accepted and seven are told (422), and each stays with its answer."""
    path = "/api/policies/always/class/"

    def post(caller: Client, index: int) -> Any:
        return caller.post(path, {"x": index % 8, "y": 0}, headers=KEY)

    first = at_once(8, crowd(alice), post)
    assert statuses(first) == {202: 1, 422: 7}
    again = at_once(8, crowd(alice), post)
    assert [answer.status_code for answer in again] == [answer.status_code for answer in first]
    assert Job.objects.count() == 1


def test_two_callers_with_one_key(alice, bob):
    """Contract 5: each has a job of their own, also at the same moment."""
    callers = [client for pair in zip(crowd(alice), crowd(bob), strict=True) for client in pair][:THREADS]
    path = "/api/policies/always/class/"
    answers = at_once(32, callers, lambda caller, _: caller.post(path, SUM, headers=KEY))
    assert statuses(answers) == {202: 32}
    assert len({answer.headers["Location"] for answer in answers}) == Job.objects.count() == 2


def test_anonymous_callers_with_one_key(anybody):
    """Contract 5: the same payload is the same job; other payloads are others, and none is refused."""
    path = "/api/open-echo/"
    answers = at_once(32, crowd(anybody), lambda caller, i: caller.post(path, {"a": i % 4}, headers=KEY))
    assert statuses(answers) == {202: 32}
    assert len({answer.headers["Location"] for answer in answers}) == Job.objects.count() == 4


@pytest.mark.parametrize("keyed", [False, True], ids=["without keys", "each with a key"])
@pytest.mark.parametrize(("rule", "expected"), [("join", {202: 8}), ("refuse", {202: 1, 409: 7})])
def test_one_active_job(alice, rule, expected, keyed):
    """Contract 6: eight at once with one active key make one job; the others join it or are refused."""

    def post(caller: Client, index: int) -> Any:
        headers = {"Idempotency-Key": f"k{index}"} if keyed else {}
        return caller.post(f"/api/gates/{rule}/", {"name": "one"}, headers=headers)

    answers = at_once(8, crowd(alice), post)
    assert statuses(answers) == expected
    assert len({answer.headers["Location"] for answer in answers if answer.status_code == 202}) == 1
    assert Job.objects.count() == 1


def test_one_active_job_of_two_callers(alice, bob):
    """Contract 6: one of them has it, and the other is never led to a job that is 404 for them."""
    callers = [client for pair in zip(crowd(alice), crowd(bob), strict=True) for client in pair][:THREADS]
    answers = at_once(
        32, callers, lambda caller, _: (caller, caller.post("/api/gates/join/", {"name": "one"}))
    )
    assert Counter(answer.status_code for _, answer in answers) == {202: 16, 409: 16}
    for caller, answer in answers:
        if answer.status_code == 202:
            assert caller.get(answer.headers["Location"]).status_code == 202
    assert Job.objects.count() == 1


def test_active_jobs_follow_one_another(alice, worker):
    """Contract 6: requests that come while one ends and the next begins get the one or the other, and no error."""
    contract_tasks.everywhere.set()  # each job ends as soon as it has begun
    post = "/api/gates/join/"
    answers = at_once(MANY, crowd(alice), lambda caller, _: caller.post(post, {"name": "one"}))
    assert statuses(answers) == {202: MANY}
    jobs = {answer.headers["Location"]: answer for answer in answers}
    for accepted in jobs.values():
        assert alice.follow(accepted).status_code == 200
    assert Job.objects.count() == len(jobs)
    assert alice.post(post, {"name": "one"}).headers["Location"] not in jobs  # all have ended


def test_a_key_that_joins_while_jobs_follow_one_another_has_one_url(alice, worker):
    """Contract 5, 6: whether its requests join the job that ends or begin the next one."""
    contract_tasks.everywhere.set()

    def post(caller: Client, index: int) -> tuple[int, Any]:
        key = index // 4  # four at one moment have the same
        headers = {"Idempotency-Key": f"k{key}"}
        return key, caller.post("/api/gates/join/", {"name": "one"}, headers=headers)

    answers = at_once(4 * 32, crowd(alice), post)
    assert statuses([answer for _, answer in answers]) == {202: 4 * 32}
    urls = {(key, answer.headers["Location"]) for key, answer in answers}
    assert Counter(Counter(key for key, _ in urls).values()) == {1: 32}
    assert Job.objects.count() == len({where for _, where in urls})


@pytest.mark.parametrize(
    ("method", "endpoint", "expected"),
    [("POST", "rerun/", {202: 1, 412: 7}), ("DELETE", "", {204: 1, 404: 7})],
    ids=["rerun", "delete"],
)
def test_one_of_many_changes_goes_through(job, alice, method, endpoint, expected):
    """Contract 12: of eight that name one version, one."""
    path = url(job("failed"))
    tag = {"If-Match": alice.get(path).headers["ETag"]}
    answers = at_once(8, crowd(alice), lambda caller, _: caller(method, path + endpoint, headers=tag))
    assert statuses(answers) == expected


def test_cancel_rerun_and_delete_at_once(alice, worker):
    """Contract 9: each answer is one of its row of the table, whatever the others do at that moment."""
    accepted = alice.post("/api/gates/free/", {"name": "k"})
    monitor = accepted.headers["Operation-Location"]
    asks = [
        ("POST", "cancel/", {202, 200, 404}),
        ("POST", "rerun/", {409, 202, 404}),
        ("DELETE", "", {202, 204, 404}),
    ]
    asks += [("GET", "", {200, 404}), ("GET", "result/", {202, 409, 404})]

    def ask(caller: Client, index: int) -> Any:
        method, endpoint, allowed = asks[index % len(asks)]
        answer = caller(method, monitor + endpoint)
        return answer.status_code in allowed or (method, endpoint, answer.status_code, answer.text)

    results = at_once(MANY, crowd(alice), ask)
    assert [result for result in results if result is not True] == []
    assert alice.get(monitor).status_code == 404


def test_polls_during_the_work_never_go_back(alice, worker):
    """Contract 9, 11: what one client sees is never older than what it has seen, with tags and without."""
    order = ["accepted", "running", "succeeded"]
    accepted = alice.post("/api/gates/free/", {"name": "k"})
    monitor = accepted.headers["Operation-Location"]

    def follow(caller: Client, index: int) -> list[str]:
        seen, tag = [], None
        deadline = time.monotonic() + SECONDS
        for look in takewhile(lambda _: time.monotonic() < deadline, count()):
            if index == 0 and look == 5:
                contract_tasks.gate("k").set()
            headers = {"If-None-Match": tag} if tag and index % 2 else {}
            answer = caller.get(monitor, headers=headers)
            if answer.status_code == 304:
                continue
            tag = answer.headers["ETag"]
            seen.append(answer.json()["status"])
            if seen[-1] == "succeeded":
                return seen
        raise AssertionError(seen)

    for seen in at_once(8, crowd(alice), follow):
        assert seen == sorted(seen, key=order.index)


def test_a_flood_above_the_cap(alice):
    """Contract 7: many at once are let in or refused; a cap holds against floods, not to the last job."""
    path = "/api/policies/capped/class/"
    answers = at_once(MANY, crowd(alice), lambda caller, _: caller.post(path, SUM))
    counted = statuses(answers)
    assert set(counted) == {202, 429}
    assert 2 <= counted[202] <= 2 + THREADS
    assert Job.objects.count() == counted[202]
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)


def test_a_reader_at_every_moment(alice, worker):
    """Contract 10, 17: reads of M and R are 200, 202 or the answer, and never an error, while the job goes its way."""
    accepted = alice.post("/api/policies/always/class/", SUM)
    places = [accepted.headers[name] for name in ("Operation-Location", "Location")]
    answers = at_once(MANY, crowd(alice), lambda caller, index: caller.get(places[index % 2]))
    assert {(index % 2, answer.status_code) for index, answer in enumerate(answers)} <= {
        (0, 200),
        (1, 202),
        (1, 201),
    }
