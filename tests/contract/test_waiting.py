"""Contract 4, 14: long polls: who waits for what, what ends the wait, and what the response says of it."""

import time

import pytest

from async_accept.http.not_modified import not_modified
from async_accept.models import Job
from tests.contract.cases import SUM
from tests.contract.conftest import url
from tests.testapp import contract_tasks

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/policies/always/class/"


@pytest.mark.parametrize("how", ["query", "header"])
def test_any_change_of_status_ends_a_wait_at_the_monitor(job, alice, soon, how):
    """Contract 14: not only the end; ``Preference-Applied`` names a preference, not a query parameter."""
    waiting = job("accepted")
    soon(lambda: Job.objects.get().claim("w", 1))
    wait = {"params": {"wait": "9"}} if how == "query" else {"headers": {"Prefer": "wait=9"}}
    began = time.monotonic()
    response = alice.get(url(waiting), **wait)
    assert time.monotonic() - began < 8
    assert (response.status_code, response.json()["status"]) == (200, "running")
    assert response.headers.get("Preference-Applied") == ("wait=9" if how == "header" else None)


@pytest.mark.parametrize("how", ["query", "header"])
def test_the_result_waits_for_the_end(job, alice, soon, how):
    """Contract 14: also if that is a problem."""
    soon(lambda: Job.objects.get().cancel())
    wait = {"params": {"wait": "9"}} if how == "query" else {"headers": {"Prefer": "wait=9"}}
    response = alice.get(url(job("accepted"), "result/"), **wait)
    assert (response.status_code, response.json()["code"]) == (409, "canceled")
    assert response.headers.get("Preference-Applied") == ("wait=9" if how == "header" else None)


def test_the_result_waits_for_the_worker(alice, worker, soon):
    """Contract 14: R has nothing to tell of a job that has begun."""
    accepted = alice.post("/api/gates/free/", {"name": "end"})
    soon(contract_tasks.gate("end").set)
    answer = alice.get(accepted.headers["Location"], params={"wait": "9"})
    assert (answer.status_code, answer.json()) == (200, {"passed": "end"})


def test_a_wait_for_the_result_that_is_too_short(job, alice, soon, configure):
    """Contract 14: it is capped by the setting; 202 then, with what has come meanwhile."""
    configure(MAX_WAIT_SECONDS=1)
    waiting = job("accepted")
    soon(lambda: Job.objects.get().claim("w", 1))
    began = time.monotonic()
    response = alice.get(url(waiting, "result/"), headers={"Prefer": "wait=60"})
    assert 0.9 < time.monotonic() - began < 8
    assert (response.status_code, response.json()["status"]) == (202, "running")
    assert response.headers["Preference-Applied"] == "wait=1"


def test_progress_does_not_end_a_wait(job, alice, soon, configure):
    """Contract 14: only a change of status does; else reports every second would make it a poll."""
    configure(MAX_WAIT_SECONDS=1)
    running = job("running")
    half = {"current": 1, "total": 2, "unit": "", "message": "half", "percent": 50.0, "stage": ""}
    soon(lambda: Job.objects.update(progress=half))
    began = time.monotonic()
    response = alice.get(url(running), params={"wait": "3600"})
    assert 0.9 < time.monotonic() - began < 8
    assert (response.status_code, response.json()["status"]) == (200, "running")
    assert response.json()["progress"] == half  # as it stands at the end of the wait


@pytest.mark.parametrize("forget", [False, True], ids=["known here", "known elsewhere"])
def test_a_long_poll_with_a_tag(job, alice, soon, configure, forget):
    """Contract 11, 14: it waits although nothing is new, gets 304 at the end of the wait, and 200 for news."""
    configure(MAX_WAIT_SECONDS=1)
    waiting = job("accepted")
    tag = {"If-None-Match": alice.get(url(waiting)).headers["ETag"]}
    if forget:
        not_modified.sent.clear()
    began = time.monotonic()
    same = alice.get(url(waiting), params={"wait": "1"}, headers=tag)
    assert time.monotonic() - began > 0.9
    assert (same.status_code, same.content) == (304, b"")
    configure(MAX_WAIT_SECONDS=20)
    soon(lambda: Job.objects.get().claim("w", 1))
    news = alice.get(url(waiting), params={"wait": "20"}, headers=tag)
    assert (news.status_code, news.json()["status"]) == (200, "running")


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


@pytest.mark.parametrize("endpoint", ["", "result/"])
def test_a_job_that_is_deleted_meanwhile(job, alice, soon, endpoint):
    """Contract 14, 18: the wait ends with the 404 that everybody gets from then on."""
    waiting = job("running")
    soon(lambda: alice.again().delete(url(waiting)))
    began = time.monotonic()
    assert alice.get(url(waiting, endpoint), params={"wait": "9"}).status_code == 404
    assert time.monotonic() - began < 8


# --- No wait ----------


def test_a_final_job_is_not_waited_for(job, alice):
    """Contract 14: answered at once, and no preference is said to be honoured."""
    began = time.monotonic()
    response = alice.get(url(job("succeeded")), headers={"Prefer": "wait=10"})
    assert time.monotonic() - began < 5
    assert "Preference-Applied" not in response.headers


def test_no_more_threads_wait_than_the_setting_allows(job, alice, configure):
    """Contract 4, 14: further requests are answered at once, with the job as it stands."""
    configure(MAX_WAITERS=0)
    wait = {"Prefer": "wait=10"}
    began = time.monotonic()
    response, accepted = alice.get(url(job("running")), headers=wait), alice.post(URL, SUM, headers=wait)
    assert time.monotonic() - began < 5
    assert (response.status_code, accepted.status_code) == (200, 202)
    assert "Preference-Applied" not in response.headers
    assert "Preference-Applied" not in accepted.headers


def test_the_setting_switches_waiting_off(job, alice, configure):
    """Contract 4, 14: the cap may be 0."""
    configure(MAX_WAIT_SECONDS=0)
    began = time.monotonic()
    wait = {"Prefer": "wait=10"}
    for response in (alice.get(url(job("running")), headers=wait), alice.post(URL, SUM, headers=wait)):
        assert "Preference-Applied" not in response.headers
    assert time.monotonic() - began < 5


def test_what_is_no_number_of_seconds_is_not_waited_for(job, alice, configure):
    """Contract 14: it is ignored."""
    configure(MAX_WAIT_SECONDS=1)
    path = url(job("running"))
    began = time.monotonic()
    for wait in ("0", "-1", "1.5", "x", "", "\0", "\uff11"):
        assert alice.get(path, params={"wait": wait}).status_code == 200, wait
    assert time.monotonic() - began < 5
