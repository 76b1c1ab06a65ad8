"""Contract 9, 10, 11: GET of the status monitor."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from async_accept.conf import DEFAULTS
from async_accept.models import Job
from async_accept.problems import problem
from tests.contract.conftest import ACTIVE, ENDED, eventually, url
from tests.testapp import contract_tasks

pytestmark = pytest.mark.django_db(transaction=True)

MEMBERS = [
    *("id", "operation", "status", "attempt", "rerun_of", "rerun_as", "can_rerun", "progress", "message"),
    *("created_at", "started_at", "updated_at", "finished_at", "expires_at"),
    *("url", "result_url", "cancel_url", "rerun_url", "events_url", "error"),
]


@pytest.mark.parametrize("state", ACTIVE)
def test_active_job(job, alice, state):
    """Contract 3, 9, 11: 200 with the status document, Retry-After, ETag, private caching."""
    response = alice.get(url(job(state)))
    document = response.json()
    assert response.status_code == 200
    assert (document["status"], document["error"]) == (state, None)
    assert response.headers["Retry-After"] == "1"
    assert response.headers["ETag"].startswith('"')
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert "Sunset" not in response.headers
    assert "Expires" not in response.headers
    assert {"Accept", "Prefer"} <= set(re.split(r",\s*", response.headers["Vary"]))


@pytest.mark.parametrize("expired", [False, True], ids=["kept", "expired"])
@pytest.mark.parametrize("state", ENDED)
def test_ended_job(job, alice, state, expired):
    """Contract 10, 11: a failed job is no failed read; no Retry-After any more, and Sunset equals ``expires_at``."""
    response = alice.get(url(job(state, is_expired=expired)))
    document = response.json()
    assert response.status_code == 200
    assert document["status"] == state
    assert "Retry-After" not in response.headers
    assert "Expires" not in response.headers
    assert response.headers["Cache-Control"] == "private, no-cache"
    expires_at = datetime.fromisoformat(document["expires_at"])
    assert parsedate_to_datetime(response.headers["Sunset"]) == expires_at.replace(microsecond=0)
    if state == "succeeded":
        assert document["error"] is None
    else:
        assert {"type", "title", "status", "detail", "code", "message"} <= set(document["error"])
        assert document["error"]["status"] == 409


def test_members(job, alice):
    """Contract 9: their names and order, RFC 3339 in UTC, absolute URLs; absent steps are null."""
    running = job(
        "running",
        progress={"current": 1, "total": 2, "unit": "", "message": "half", "percent": 50.0, "stage": ""},
    )
    document = alice.get(url(running)).json()
    assert list(document) == MEMBERS
    assert document["id"] == str(running.pk)
    assert (document["attempt"], document["rerun_of"]) == (1, None)
    assert (document["progress"]["percent"], document["message"]) == (50.0, "half")
    assert (document["finished_at"], document["expires_at"]) == (None, None)
    for name in ("created_at", "started_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", document[name])
        assert datetime.fromisoformat(document[name]).tzinfo == UTC
    assert document["url"] == f"{alice.base}{url(running)}"
    for name in ("result", "cancel", "rerun", "events"):
        assert document[f"{name}_url"] == f"{alice.base}{url(running)}{name}/"


def test_times_are_utc_whatever_the_time_zone(job, alice, settings):
    """Contract 9: RFC 3339 with a Z."""
    settings.TIME_ZONE = "Asia/Tokyo"
    moment = "2026-05-04T03:02:01.500000"
    running = job("running", created_at=datetime.fromisoformat(f"{moment}+00:00"))
    assert alice.get(url(running)).json()["created_at"] == f"{moment}Z"


def test_each_step_has_its_time(alice, worker):
    """Contract 9: in their order, and ``expires_at`` as the setting says; the first attempt is 1."""
    accepted = alice.post("/api/gates/free/", {"name": "timed"})
    assert accepted.json()["attempt"] == 0
    running = alice.until(accepted, "running")
    assert (running["attempt"], running["finished_at"], running["expires_at"]) == (1, None, None)
    contract_tasks.gate("timed").set()
    alice.follow(accepted)
    done = alice.get(accepted.headers["Operation-Location"]).json()
    names = ("created_at", "started_at", "finished_at", "expires_at")
    times = {name: datetime.fromisoformat(done[name]) for name in names}
    assert list(times.values()) == sorted(set(times.values()))
    assert times["expires_at"] - times["finished_at"] == DEFAULTS["RESULT_LIFETIME"]
    assert done["started_at"] == running["started_at"]
    assert done["updated_at"] == done["finished_at"]
    assert done["attempt"] == 1


def test_progress_of_a_running_task(alice, worker):
    """Contract 9: what the worker reports reaches the status document."""
    accepted = alice.post("/api/gates/free/", {"name": "seen"})
    monitor = accepted.headers["Operation-Location"]
    document = eventually(lambda: (d := alice.get(monitor).json())["progress"] and d)
    assert (document["progress"]["percent"], document["message"]) == (50, "At the gate")
    contract_tasks.gate("seen").set()
    assert alice.follow(accepted).json() == {"passed": "seen"}


def test_the_error_is_what_the_result_answers(job, alice):
    """Contract 9, 10, 15: RFC 9457 members first, then the problem's own; ``status`` is that of R."""
    failed = job("failed", problem=problem("card-declined", "No.", status=402, title="Declined", card="1234"))
    error = alice.get(url(failed)).json()["error"]
    result = alice.get(url(failed, "result/"))
    assert error == result.json()
    assert error["status"] == result.status_code == 402
    assert list(error)[:6] == ["type", "title", "status", "detail", "code", "message"]
    assert (error["code"], error["title"], error["detail"]) == ("card-declined", "Declined", "No.")
    assert (error["card"], error["type"]) == ("1234", "about:blank")
    assert result.headers["Content-Type"] == "application/problem+json"


def test_a_final_status_never_changes(job, alice):
    """Contract 9: neither cancel nor rerun nor a late failure changes it."""
    done = job("succeeded")
    alice.post(url(done, "cancel/"))
    alice.post(url(done, "rerun/"))
    stale = Job.objects.get(pk=done.pk)
    assert not stale.fail(problem("failed"))
    assert alice.get(url(done)).json()["status"] == "succeeded"


@pytest.mark.parametrize("state", [*ACTIVE, *ENDED])
def test_reads_change_nothing(job, alice, state):
    """Contract 17: GET and HEAD change nothing, however often."""
    made = job(state)
    before = Job.objects.values().get()
    for method in ("GET", "GET", "HEAD", "OPTIONS"):
        for endpoint in ("", "result/", "events/", "cancel/", "rerun/", "?wait=0"):
            assert alice(method, url(made, endpoint)).status_code < 500
        assert alice(method, "/api/jobs/").status_code == 200
    assert Job.objects.values().get() == before
