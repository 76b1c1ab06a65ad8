"""Contract 4, 14: who waits for what, what ends the wait, and what is said of it; and ``Prefer`` as it is sent."""

import json
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from async_accept.http.not_modified import not_modified
from async_accept.models import Job
from tests.contract.cases import SUM
from tests.contract.conftest import url
from tests.testapp import contract_tasks

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/policies/always/class/"


@pytest.fixture
def soon():
    """Do something in a moment, in another thread."""
    timers = []

    def later(do):
        timers.append(threading.Timer(0.5, do))
        timers[-1].start()

    yield later
    for timer in timers:
        timer.join()


@pytest.mark.parametrize(
    "how", [{"params": {"wait": "9"}}, {"headers": {"Prefer": "wait=9"}}], ids=["url", "header"]
)
def test_the_monitor_tells_that_a_job_has_begun(job, alice, soon, how):
    """Contract 14: any change of status ends the wait, not only the end."""
    waiting = job("accepted")
    soon(lambda: Job.objects.get().claim("w", 1))
    began = time.monotonic()
    response = alice.get(url(waiting), **how)
    assert time.monotonic() - began < 8
    assert (response.status_code, response.json()["status"]) == (200, "running")


def test_the_result_waits_for_the_end(alice, worker, soon):
    """Contract 14: R has nothing to tell of a job that has begun."""
    accepted = alice.post("/api/gates/free/", {"name": "end"})
    soon(contract_tasks.gate("end").set)
    answer = alice.get(accepted.headers["Location"], params={"wait": "10"})
    assert (answer.status_code, answer.json()) == (200, {"passed": "end"})


def test_a_wait_for_the_result_that_is_too_short(job, alice, soon, settings):
    """Contract 14: 202 then, with what has come meanwhile."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_WAIT_SECONDS": 1}
    waiting = job("accepted")
    soon(lambda: Job.objects.get().claim("w", 1))
    began = time.monotonic()
    response = alice.get(url(waiting, "result/"), headers={"Prefer": "wait=60"})
    assert time.monotonic() - began > 0.9
    assert (response.status_code, response.json()["status"]) == (202, "running")
    assert response.headers["Preference-Applied"] == "wait=1"


@pytest.mark.parametrize("forget", [False, True], ids=["known here", "known elsewhere"])
def test_a_long_poll_that_names_what_it_knows(job, alice, soon, settings, forget):
    """Contract 11, 14: it waits although nothing is new, gets 304 at the end of the wait, and 200 for news."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_WAIT_SECONDS": 1}
    waiting = job("accepted")
    tag = {"If-None-Match": alice.get(url(waiting)).headers["ETag"]}
    if forget:
        not_modified.sent.clear()
    began = time.monotonic()
    same = alice.get(url(waiting), params={"wait": "1"}, headers=tag)
    assert time.monotonic() - began > 0.9
    assert (same.status_code, same.content) == (304, b"")
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_WAIT_SECONDS": 10}
    soon(lambda: Job.objects.get().claim("w", 1))
    news = alice.get(url(waiting), params={"wait": "10"}, headers=tag)
    assert (news.status_code, news.json()["status"]) == (200, "running")


def test_a_long_poll_of_a_job_that_is_deleted(job, alice, soon):
    """Contract 14, 18: it ends, and says what everybody is told from then on."""
    waiting = job("running")
    soon(lambda: alice.delete(url(waiting)))
    began = time.monotonic()
    assert alice.get(url(waiting), params={"wait": "9"}).status_code == 404
    assert time.monotonic() - began < 8


def test_many_wait_and_the_rest_is_answered_at_once(job, alice, settings):
    """Contract 14: on a server with threads, waits are few; who finds none left is told how it stands."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_WAITERS": 0}
    began = time.monotonic()
    response = alice.get(url(job("running")), headers={"Prefer": "wait=10"})
    assert time.monotonic() - began < 5
    assert response.status_code == 200
    assert "Preference-Applied" not in response.headers


def test_waiting_is_switched_off_by_the_setting(job, alice, settings):
    """Contract 4, 14: the cap may be 0."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_WAIT_SECONDS": 0}
    began = time.monotonic()
    wait = {"Prefer": "wait=10"}
    for response in (alice.get(url(job("running")), headers=wait), alice.post(URL, SUM, headers=wait)):
        assert "Preference-Applied" not in response.headers
    assert time.monotonic() - began < 5


def test_a_waiting_request_leaves_the_work_to_the_worker(alice, worker):
    """Contract 4: it sees the job run elsewhere, and its answer is the stored one."""
    answer = alice.post(URL, SUM, headers={"Prefer": "wait=10"})
    job = Job.objects.get()
    assert answer.headers["Operation-Location"] == f"{alice.base}{url(job)}"
    assert (answer.status_code, job.state, job.attempt) == (201, "succeeded", 1)
    assert alice.get(url(job, "result/")).json() == answer.json()


def _send(base: str, token: str, *lines: str) -> tuple[int, dict[str, str]]:
    """Send these header lines as they are; requests would join them."""
    parts = urlsplit(base)
    body = json.dumps(SUM)
    head = [f"POST {URL} HTTP/1.1", "Host: localhost", "Connection: close", f"Authorization: {token}", *lines]
    head += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", body]
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall("\r\n".join(head).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    first, *fields = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(first.split()[1]), dict(field.split(": ", 1) for field in fields)


@pytest.mark.parametrize(
    ("lines", "applied"),
    [
        (["Prefer: respond-async", "Prefer: return=minimal"], "respond-async, return=minimal"),
        (["Prefer: return=representation", "PREFER: return=minimal"], None),
        (["prefer: handling=lenient", "Prefer: Respond-Async"], "respond-async"),
        (["Prefer: respond-async", "Prefer: wait=0"], "respond-async"),
        (["Prefer:", "Prefer: respond-async"], "respond-async"),
    ],
)
def test_several_lines_of_prefer(base, alice, lines, applied):
    """Contract 4: they are one list, in their order; names are case-insensitive."""
    status, headers = _send(base, alice.session.headers["Authorization"], *lines)
    assert status == 202
    assert headers.get("Preference-Applied") == applied


def test_several_keys_are_none(base, alice):
    """Contract 5: two lines of Idempotency-Key name no key."""
    token = alice.session.headers["Authorization"]
    assert _send(base, token, 'Idempotency-Key: "a"', 'Idempotency-Key: "b"')[0] == 400
    assert not Job.objects.exists()


def test_one_location_line(base, alice):
    """Contract 1: each header of the 202 is one line."""
    with socket.create_connection((urlsplit(base).hostname, urlsplit(base).port), timeout=20) as connection:
        token = alice.session.headers["Authorization"]
        connection.sendall(
            f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {token}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nx=1&y=2".encode()
        )
        head = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[0].decode()
    names = [line.partition(":")[0].lower() for line in head.split("\r\n")[1:]]
    assert {"location", "operation-location", "content-location", "link", "retry-after", "vary"} <= set(names)
    assert len(names) == len(set(names))


def test_progress_does_not_end_a_wait(job, alice, soon, settings):
    """Contract 14: a change of status does; what is reported every second would make a wait a poll."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_WAIT_SECONDS": 2}
    running = job("running")
    half = {"current": 1, "total": 2, "unit": "", "message": "half", "percent": 50.0, "stage": ""}
    soon(lambda: Job.objects.update(progress=half))
    began = time.monotonic()
    response = alice.get(url(running), params={"wait": "2"})
    assert time.monotonic() - began > 1.9
    assert (response.status_code, response.json()["status"]) == (200, "running")
    assert response.json()["progress"] == half  # as it stands at the end of the wait


def test_news_that_the_client_does_not_know_is_not_waited_for(job, alice):
    """Contract 11, 14: a long poll that names an older document is answered at once."""
    waiting = job("accepted")
    tag = {"If-None-Match": alice.get(url(waiting)).headers["ETag"]}
    waiting.claim("w", 1)
    began = time.monotonic()
    response = alice.get(url(waiting), params={"wait": "30"}, headers=tag)
    assert (response.status_code, response.json()["status"]) == (200, "running")
    assert time.monotonic() - began < 20
    assert "Preference-Applied" not in response.headers
