"""Contract 9 to 14, 17 to 19: the table "Following", every cell, and how reads are told."""

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
import requests
from django.contrib.auth import get_user_model
from django.utils import timezone

from async_accept.jobs.retention import sweep
from async_accept.models import Job
from async_accept.problems import problem
from tests.contract.conftest import together, url
from tests.testapp import contract_tasks

pytestmark = pytest.mark.django_db(transaction=True)

ENDED = ("succeeded", "failed", "canceled")
OPEN = ("accepted", "running", "canceling")
UNKNOWN = "01890000-0000-7000-8000-000000000000"
MEMBERS = [
    *("id", "operation", "status", "attempt", "rerun_of", "rerun_as", "can_rerun", "progress", "message"),
    *("created_at", "started_at", "updated_at", "finished_at", "expires_at"),
    *("url", "result_url", "cancel_url", "rerun_url", "events_url", "error"),
]


# --- GET M ----------


@pytest.mark.parametrize("state", OPEN)
def test_monitor_of_an_open_job(job, alice, state):
    """Contract 9, 11: 200 with the status document, Retry-After, ETag, private caching."""
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
def test_monitor_of_an_ended_job(job, alice, state, expired):
    """Contract 10, 11: a failed job is no failed read; Retry-After disappears, Sunset equals ``expires_at``."""
    response = alice.get(url(job(state, is_expired=expired)))
    document = response.json()
    assert response.status_code == 200
    assert document["status"] == state
    assert "Retry-After" not in response.headers
    assert "Expires" not in response.headers
    expires_at = datetime.fromisoformat(document["expires_at"])
    assert parsedate_to_datetime(response.headers["Sunset"]) == expires_at.replace(microsecond=0)
    if state == "succeeded":
        assert document["error"] is None
    else:
        assert {"type", "title", "status", "detail", "code", "message"} <= set(document["error"])
        assert document["error"]["status"] == 409


def test_status_document(job, alice):
    """Contract 9: its members, RFC 3339 in UTC, absolute URLs; absent steps are null."""
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
    for name, endpoint in [
        ("url", ""),
        *((f"{e}_url", f"{e}/") for e in ("result", "cancel", "rerun", "events")),
    ]:
        assert document[name] == f"{alice.base}{url(running)}{endpoint}"


def test_the_error_says_what_the_result_answers(job, alice):
    """Contract 10, 15: ``error.status`` is what R answers; RFC 9457 members."""
    failed = job("failed", problem=problem("wrong-gate", "No.", status=422, title="Wrong gate", gate=3))
    error = alice.get(url(failed)).json()["error"]
    result = alice.get(url(failed, "result/"))
    assert error == result.json()
    assert error["status"] == result.status_code == 422
    assert (error["code"], error["title"], error["detail"], error["gate"]) == (
        "wrong-gate",
        "Wrong gate",
        "No.",
        3,
    )
    assert result.headers["Content-Type"] == "application/problem+json"


def test_a_final_status_never_changes(job, alice):
    """Contract 9: asked to cancel, rerun and fail again, it stays."""
    done = job("succeeded")
    alice.post(url(done, "cancel/"))
    alice.post(url(done, "rerun/"))
    stale = Job.objects.get(pk=done.pk)
    assert not stale.fail(problem("failed"))
    assert alice.get(url(done)).json()["status"] == "succeeded"


# --- GET R ----------


@pytest.mark.parametrize("state", OPEN)
def test_result_of_an_open_job(job, alice, state):
    """Contract 13: 202 with the status document, Retry-After, and Location R."""
    running = job(state)
    response = alice.get(url(running, "result/"))
    assert response.status_code == 202
    assert response.headers["Location"] == f"{alice.base}{url(running, 'result/')}"
    assert response.headers["Operation-Location"] == f"{alice.base}{url(running)}"
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json()["status"] == state


def test_result_of_a_succeeded_job(alice, worker):
    """Contract 13: status, body, and the headers that matter."""
    accepted = alice.post("/api/notes/", {"slug": "a", "title": "A", "price": "1.50"})
    answer = alice.follow(accepted)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{alice.base}/api/notes/{answer.json()['id']}/"
    assert answer.json()["price"] == "1.50"
    assert "Retry-After" not in answer.headers
    document = alice.get(accepted.headers["Operation-Location"]).json()
    expires_at = datetime.fromisoformat(document["expires_at"])
    assert parsedate_to_datetime(answer.headers["Sunset"]) == expires_at.replace(microsecond=0)


@pytest.mark.parametrize(
    ("state", "expired", "status", "code"),
    [
        ("failed", False, 409, "failed"),
        ("canceled", False, 409, "canceled"),
        ("succeeded", True, 410, "result-expired"),
        ("failed", True, 410, "result-expired"),
        ("canceled", True, 410, "result-expired"),
    ],
)
def test_result_that_is_a_problem(job, alice, state, expired, status, code):
    """Contract 10: never 408, 429 or 5xx, and a final 4xx carries no Retry-After."""
    response = alice.get(url(job(state, is_expired=expired), "result/"))
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["status"] == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "Retry-After" not in response.headers


def test_swept_jobs(job, alice):
    """Contract 10: 410 once the result is gone, 404 once the row is."""
    done = job("succeeded", is_expired=True, sweep_at=timezone.now() - timedelta(seconds=1))
    sweep(10)
    assert alice.get(url(done, "result/")).status_code == 410
    assert alice.get(url(done)).status_code == 200
    Job.objects.update(
        finished_at=timezone.now() - timedelta(days=60), sweep_at=timezone.now() - timedelta(seconds=1)
    )
    sweep(10)
    assert alice.get(url(done)).status_code == 404


def test_result_whose_row_celery_cleaned_up(job, alice):
    """Contract 13: gone too early is told as 410, not as a 500."""
    from django_celery_results.models import TaskResult

    done = job("succeeded")
    TaskResult.objects.all().delete()
    assert alice.get(url(done, "result/")).status_code == 410


# --- POST cancel ----------


@pytest.mark.parametrize("state", OPEN)
def test_cancel_an_open_job(job, alice, state):
    """Contract 9, 11: 202 with the document, repeatable."""
    running = job(state)
    response = alice.post(url(running, "cancel/"))
    assert response.status_code == 202
    assert response.headers["Location"] == f"{alice.base}{url(running, 'result/')}"
    assert response.json()["status"] == ("canceled" if state == "accepted" else "canceling")
    assert alice.post(url(running, "cancel/")).status_code == (200 if state == "accepted" else 202)


@pytest.mark.parametrize("expired", [False, True], ids=["kept", "expired"])
@pytest.mark.parametrize(("state", "status"), [("succeeded", 409), ("failed", 409), ("canceled", 200)])
def test_cancel_an_ended_job(job, alice, state, status, expired):
    """Contract 9: 409 for one that has ended otherwise, 200 for one that is canceled, 409 for an expired one."""
    if expired and state == "canceled":
        status = 409
    response = alice.post(url(job(state, is_expired=expired), "cancel/"))
    assert response.status_code == status
    if status == 409:
        assert response.json()["code"] == "already-ended"
        assert response.headers["Content-Type"] == "application/problem+json"
    else:
        assert response.json()["status"] == state


def test_cancel_reaches_the_worker(alice, worker):
    """Contract 9: running, canceling, canceled; R is a 409 problem then."""
    accepted = alice.post("/api/gates/free/", {"name": "shut"})
    alice.until(accepted, "running")
    monitor = accepted.headers["Operation-Location"]
    answer = alice.post(f"{monitor}cancel/")
    assert (answer.status_code, answer.json()["status"]) == (202, "canceling")
    alice.until(accepted, "canceled")
    result = alice.get(accepted.headers["Location"])
    assert (result.status_code, result.json()["code"]) == (409, "canceled")


# --- POST rerun ----------


@pytest.mark.parametrize("state", OPEN)
def test_rerun_an_open_job(job, alice, state):
    """Contract 9: 409 while it has not ended."""
    response = alice.post(url(job(state), "rerun/"))
    assert (response.status_code, response.json()["code"]) == (409, "not-ended")
    assert Job.objects.count() == 1


@pytest.mark.parametrize("expired", [False, True], ids=["kept", "expired"])
@pytest.mark.parametrize("state", ENDED)
def test_rerun_an_ended_job(job, alice, state, expired):
    """Contract 1, 9: 202 as at accept, for a new job with the same input, linked both ways; final stays final."""
    old = job(state, is_expired=expired)
    response = alice.post(url(old, "rerun/"), headers={"Prefer": "respond-async"})
    assert response.status_code == 202
    new = response.json()
    assert response.headers["Location"] == new["result_url"]
    assert response.headers["Operation-Location"] == response.headers["Content-Location"] == new["url"]
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Preference-Applied"] == "respond-async"
    assert (new["status"], new["rerun_of"], new["operation"]) == ("accepted", str(old.pk), "sums.add")
    before = alice.get(url(old)).json()
    assert (before["status"], before["rerun_as"]) == (state, new["id"])
    assert (before["can_rerun"], new["can_rerun"]) == (True, False)
    assert Job.objects.get(pk=new["id"]).input == old.input


def test_rerun_minimal(job, alice):
    """Contract 4: ``return=minimal`` is honoured wherever a 202 is."""
    response = alice.post(url(job("failed"), "rerun/"), headers={"Prefer": "return=minimal"})
    assert (response.status_code, response.content) == (202, b"")
    assert response.headers["Preference-Applied"] == "return=minimal"


def test_rerun_without_input(job, alice):
    """Contract 9: 410 where the input is gone, and M says so before."""
    assert alice.get(url(job("failed", input=None))).json()["can_rerun"] is False
    response = alice.post(url(job("failed", input=None), "rerun/"))
    assert (response.status_code, response.json()["code"]) == (410, "input-gone")


def test_rerun_runs(alice, worker):
    """Contract 9: the new job gives its own answer."""
    first = alice.post("/api/policies/always/class/", {"x": 1, "y": 2})
    alice.follow(first)
    second = alice.post(f"{first.headers['Operation-Location']}rerun/")
    answer = alice.follow(second)
    assert (answer.status_code, answer.json()) == (201, {"sum": 3})


def test_rerun_under_one_key_is_one_job(job, alice, bob):
    """Contract 5: a repeated rerun gets the same new job; another caller's key, and another job's, is another key."""
    old, other = job("failed"), job("failed")
    key = {"Idempotency-Key": '"k"'}
    first = alice.post(url(old, "rerun/"), headers=key)
    again = alice.post(url(old, "rerun/"), headers={"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.headers["Location"] == again.headers["Location"]
    assert alice.post(url(other, "rerun/"), headers=key).headers["Location"] != first.headers["Location"]
    assert Job.objects.filter(rerun_of=old.pk).count() == 1
    malformed = alice.post(url(old, "rerun/"), headers={"Idempotency-Key": "a b"})
    assert (malformed.status_code, malformed.json()["code"]) == (400, "idempotency-key-invalid")


def test_a_repeated_rerun_is_not_held_against_what_it_has_changed(job, alice):
    """Contract 5, 12: the first one has changed the tag, and the input may be gone by now."""
    old = job("failed")
    key = {"Idempotency-Key": "k", "If-Match": alice.get(url(old)).headers["ETag"]}
    first = alice.post(url(old, "rerun/"), headers=key)
    assert first.status_code == 202
    for _ in range(2):
        again = alice.post(url(old, "rerun/"), headers=key)
        assert (again.status_code, again.headers["Location"]) == (202, first.headers["Location"])
        Job.objects.filter(pk=old.pk).update(input=None)
        key.pop("If-Match", None)
    assert alice.post(url(old, "rerun/"), headers={"Idempotency-Key": "l"}).status_code == 410


def test_rerun_at_the_cap_is_repeated_too(job, alice, settings):
    """Contract 5, 7: a repeat needs no room."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_ACTIVE_PER_OWNER": 1}
    old, key = job("failed"), {"Idempotency-Key": "k"}
    first = alice.post(url(old, "rerun/"), headers=key)
    again = alice.post(url(old, "rerun/"), headers=key)
    assert (again.status_code, again.headers["Location"]) == (202, first.headers["Location"])
    assert alice.post(url(old, "rerun/")).status_code == 429


@pytest.mark.parametrize(("rule", "status"), [("join", 202), ("refuse", 409)])
def test_rerun_takes_the_active_key_too(alice, bob, rule, status):
    """Contract 6: one active job, however it was asked for; a second one joins or is refused, as the view says."""
    gate = f"/api/gates/{rule}/"
    first = alice.post(gate, {"name": "one"})
    monitor = first.headers["Operation-Location"]
    alice.post(monitor + "cancel/")
    rerun = alice.post(monitor + "rerun/")
    assert rerun.status_code == 202
    for second in (alice.post(gate, {"name": "one"}), alice.post(monitor + "rerun/")):
        assert second.status_code == status
        if status == 202:
            assert second.headers["Location"] == rerun.headers["Location"]
    assert bob.post(gate, {"name": "one"}).status_code == 409
    assert alice.post(gate, {"name": "two"}).status_code == 202
    assert Job.objects.count() == 3
    assert alice.get(monitor).json()["rerun_as"] == rerun.json()["id"]


def test_rerun_can_be_waited_for(alice, worker):
    """Contract 4: ``wait=N`` gives the new job's answer."""
    first = alice.post("/api/policies/always/class/", {"x": 1, "y": 2})
    alice.follow(first)
    answer = alice.post(
        f"{first.headers['Operation-Location']}rerun/", headers={"Prefer": "respond-async, wait=10"}
    )
    assert (answer.status_code, answer.json()) == (201, {"sum": 3})
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert answer.headers["Operation-Location"] != first.headers["Operation-Location"]


# --- DELETE M ----------


@pytest.mark.parametrize("state", OPEN)
def test_delete_an_open_job(job, alice, state):
    """Contract 9: 202, stopped and forgotten: 404 from now on."""
    running = job(state)
    assert alice.delete(url(running)).status_code == 202
    assert alice.get(url(running)).status_code == 404
    assert alice.delete(url(running)).status_code == 404
    assert Job.objects.filter(pk=running.pk).values_list("state", flat=True).first() in (None, "canceling")


@pytest.mark.parametrize("state", OPEN)
def test_delete_leads_nowhere(job, alice, state):
    """Contract 9, 11: the 202 has the document as the job was left, and no header that a client would follow."""
    running = job(state)
    response = alice.delete(url(running))
    assert response.json()["id"] == str(running.pk)
    assert response.json()["status"] == ("canceled" if state == "accepted" else "canceling")
    assert response.headers["Cache-Control"] == "no-store"
    for name in (
        "Location",
        "Operation-Location",
        "Content-Location",
        "Retry-After",
        "ETag",
        "Link",
        "Refresh",
    ):
        assert name not in response.headers


@pytest.mark.parametrize("state", [*OPEN, *ENDED])
def test_a_deleted_job_is_404_everywhere(job, alice, state):
    """Contract 9, 18: at every endpoint, with every tag, and in the list."""
    made = job(state)
    tag = alice.get(url(made)).headers["ETag"]
    alice.delete(url(made))
    for headers in ({}, {"If-None-Match": tag}, {"If-Match": tag}, {"Prefer": "wait=1"}):
        for method, endpoint in [
            *((method, end) for method in ("GET", "HEAD") for end in ("", "result/", "events/")),
            ("POST", "cancel/"),
            ("POST", "rerun/"),
            ("DELETE", ""),
        ]:
            assert alice(method, url(made, endpoint), headers=headers).status_code == 404, (method, endpoint)
    assert alice.get("/api/jobs/").json()["results"] == []


@pytest.mark.parametrize("expired", [False, True], ids=["kept", "expired"])
@pytest.mark.parametrize("state", ENDED)
def test_delete_an_ended_job(job, alice, state, expired):
    """Contract 9: 204, and 404 from now on."""
    done = job(state, is_expired=expired)
    response = alice.delete(url(done))
    assert (response.status_code, response.content) == (204, b"")
    assert alice.get(url(done)).status_code == alice.get(url(done, "result/")).status_code == 404
    assert not Job.objects.exists()


# --- GET events/ without streams ----------


@pytest.mark.parametrize("state", ["running", "succeeded"])
@pytest.mark.parametrize("accept", ["text/event-stream", "*/*"])
def test_events_need_a_server_that_can(job, alice, state, accept):
    """Contract 14: 406 where the server is not set up for streams (WSGI)."""
    response = alice.get(url(job(state), "events/"), headers={"Accept": accept})
    assert response.status_code == 406
    assert response.headers["Content-Type"] == "application/problem+json"


def test_events_of_an_expired_job(job, alice):
    """Contract 14: 410."""
    response = alice.get(
        url(job("failed", is_expired=True), "events/"), headers={"Accept": "text/event-stream"}
    )
    assert response.status_code == 410


def test_monitor_as_events_needs_a_server_that_can(job, alice):
    """Contract 14: M under ``Accept: text/event-stream`` likewise."""
    assert alice.get(url(job("running")), headers={"Accept": "text/event-stream"}).status_code == 406


# --- Whatever the project speaks ----------


@pytest.fixture(params=["pages", "csv", "pages first", "templates"])
def project(request, monkeypatch):
    """A project whose own views speak no JSON, or speak something else first."""
    from rest_framework import renderers
    from rest_framework.views import APIView

    class Csv(renderers.BaseRenderer):
        media_type = "text/csv"
        format = "csv"

        def render(self, data, *args, **kwargs):
            raise AssertionError("Nobody asked for it.")

    spoken = {
        "pages": [renderers.BrowsableAPIRenderer],
        "csv": [Csv],
        "pages first": [renderers.BrowsableAPIRenderer, renderers.JSONRenderer],
        "templates": [renderers.TemplateHTMLRenderer, renderers.StaticHTMLRenderer],
    }
    monkeypatch.setattr(APIView, "renderer_classes", spoken[request.param])


@pytest.mark.parametrize("accept", ["*/*", "application/json", None])
def test_documents_are_json_whatever_the_project_speaks(job, alice, project, accept):
    """Contract 9, 15: documents and problems, for every client that does not ask for something else."""
    alice.session.headers["Accept"] = accept
    running = job("running")
    assert alice.get(url(running)).json()["status"] == "running"
    assert alice.get(url(running, "result/")).json()["status"] == "running"
    assert alice.get("/api/jobs/").json()["results"][0]["status"] == "running"
    assert alice.post(url(running, "cancel/")).json()["status"] == "canceling"
    for method, path, status in [
        ("GET", url(UNKNOWN), 404),
        ("GET", url(UNKNOWN, "result/"), 404),
        ("GET", "/api/jobs/?status=x", 400),
        ("PUT", url(running), 405),
        ("POST", url(running, "rerun/"), 409),
        ("GET", url(running, "events/"), 406),
    ]:
        response = alice(method, path)
        assert (response.status_code, response.json()["status"]) == (status, status), path
        assert response.headers["Content-Type"] == "application/problem+json"
    assert alice.delete(url(running)).status_code == 202


@pytest.mark.parametrize("path", ["/api/jobs/", *(url(UNKNOWN, end) for end in ("", "events/"))])
def test_errors_before_the_negotiation_are_json_too(alice, project, base, path):
    """Contract 11, 15: 406 where nothing can be had, 401, and 404 for a format that there is not."""
    for response, status in (
        (alice.get(path, headers={"Accept": "application/xml"}), 406),
        (requests.get(base + path, headers={"Authorization": "Token nonsense"}, timeout=5), 401),
        (alice.get(path, params={"format": "nonsense"}), 404),
    ):
        assert (response.status_code, response.json()["status"]) == (status, status)
        assert response.headers["Content-Type"] == "application/problem+json"


def test_a_browser_gets_no_500_where_views_have_templates(job, alice, project):
    """Contract 11: a template is the view's own; the endpoints of jobs have none to lend."""
    done = job("succeeded")
    accept = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    for path in ("/api/jobs/", url(done), url(done, "result/"), url(UNKNOWN)):
        assert alice.get(path, headers=accept).status_code in (200, 404)


# --- Another's, unknown, malformed ----------

ENDPOINTS = [
    ("GET", ""),
    ("HEAD", ""),
    ("DELETE", ""),
    ("GET", "result/"),
    ("HEAD", "result/"),
    ("POST", "cancel/"),
    ("POST", "rerun/"),
    ("GET", "events/"),
    ("GET", "?wait=5"),
    ("OPTIONS", ""),
    ("OPTIONS", "cancel/"),
    ("PATCH", ""),
    ("GET", "cancel/"),
]
MALFORMED = [
    "x",
    "7",
    "%00",
    "%FF",
    "..%20",
    "{id}x",
    "urn:uuid:{id}",
    "{{{id}}}",
    "{hex}",
    "a" * 4000,
    "нет",
]


@pytest.mark.parametrize(("method", "endpoint"), ENDPOINTS)
def test_anothers_job_is_as_unknown_as_any(job, bob, anybody, method, endpoint):
    """Contract 18: same body and headers for another's job, an unknown id and a malformed one."""
    pk = job("running").pk
    ids = [str(pk), UNKNOWN, *(text.format(id=pk, hex=pk.hex) for text in MALFORMED)]
    for caller in (bob, anybody):
        answers = {}
        for name in ids:
            response = caller(
                method, url(name, endpoint), headers={"Idempotency-Key": "k", "If-Match": '"x"'}
            )
            headers = {k: v for k, v in response.headers.items() if k not in ("Date", "Connection")}
            answers[name] = (response.status_code, headers, response.content)
        assert len({str(answer) for answer in answers.values()}) == 1, answers
        assert answers[UNKNOWN][0] == (
            200 if method == "OPTIONS" else 405 if (method, endpoint) in ENDPOINTS[-2:] else 404
        )
    assert Job.objects.get().state == "running"


def test_no_caller_by_mistake(job, base):
    """Contract 18: an invalid token is 401, whoever's the job is."""
    for name in (job("running").pk, UNKNOWN):
        response = requests.get(f"{base}{url(name)}", headers={"Authorization": "Token nonsense"}, timeout=5)
        assert response.status_code == 401
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.headers["WWW-Authenticate"] == "Token"


def test_staff_see_with_the_permission_only(job, alice, bob):
    """Contract 18: staff by model permission."""
    from django.contrib.auth.models import Permission

    running = job("running")
    user = get_user_model().objects.get(username="bob")
    user.is_staff = True
    user.save()
    assert bob.get(url(running)).status_code == 404
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    assert bob.get(url(running)).status_code == 200


def test_anonymous_jobs_are_seen_by_whoever_knows_their_url(anybody, bob):
    """Contract 18: the URL is the capability, and its id is random."""
    accepted = anybody.post("/api/open-echo/", {"a": 1})
    assert Job.objects.get().pk.version == 4
    for caller in (anybody, bob):
        assert caller.get(accepted.headers["Operation-Location"]).status_code == 200
        assert caller.get("/api/jobs/").json()["results"] == []


# --- How reads are told ----------


def test_etag_changes_with_the_representation(job, alice):
    """Contract 11: every change of the document changes its tag."""
    from async_accept.http.not_modified import not_modified

    accepted = job("accepted")
    tags = [alice.get(url(accepted)).headers["ETag"]]
    for change in (
        lambda: accepted.claim("w", 1),
        lambda: Job.objects.update(progress={"current": 1, "message": "x"}, updated_at=timezone.now()),
        lambda: Job.objects.get().fail(problem("failed")),
        lambda: alice.post(url(accepted, "rerun/")),
    ):
        change()
        not_modified.sent.clear()
        tags.append(alice.get(url(accepted)).headers["ETag"])
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("state", [*OPEN, *ENDED])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_unchanged_is_304_with_the_same_headers(job, alice, state, form):
    """Contract 11: ``If-None-Match`` gives 304 with the same caching headers, from memory and from the database."""
    from async_accept.http.not_modified import not_modified

    monitored = job(state)
    full = alice.get(url(monitored))
    for forget in (False, True):
        if forget:
            not_modified.sent.clear()
        response = alice.get(url(monitored), headers={"If-None-Match": form.format(full.headers["ETag"])})
        assert (response.status_code, response.content) == (304, b"")
        for name in ("ETag", "Cache-Control", "Vary", "Retry-After", "Sunset"):
            assert response.headers.get(name) == full.headers.get(name), name


@pytest.mark.parametrize("tag", ['"other"', "garbage", "", '"' * 5000, ",,,", "W/"])
def test_changed_or_garbled_tag_is_200(job, alice, tag):
    """Contract 11: a tag that is none matches nothing."""
    assert alice.get(url(job("running")), headers={"If-None-Match": tag}).status_code == 200


def test_304_never_hides_a_change_made_here(job, alice):
    """Contract 11: a change that this process has answered is never followed by an older document."""
    for _ in range(5):
        running = job("running")
        tag = alice.get(url(running)).headers["ETag"]
        alice.post(url(running, "cancel/"))
        response = alice.get(url(running), headers={"If-None-Match": tag})
        assert (response.status_code, response.json()["status"]) == (200, "canceling")


def test_304_is_for_the_owner_only(job, alice, bob):
    """Contract 11, 18: what was told to one is not told to another."""
    running = job("running")
    tag = alice.get(url(running)).headers["ETag"]
    assert bob.get(url(running), headers={"If-None-Match": tag}).status_code == 404
    assert bob.get(url(running), headers={"If-None-Match": "*"}).status_code == 404


class Clock:
    """The clock of what the process remembers, moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    from async_accept.http.not_modified import not_modified

    clock = Clock()
    monkeypatch.setattr(not_modified, "clock", clock)
    not_modified.sent.clear()
    yield clock
    not_modified.sent.clear()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda job: job.cancel(), 200),
        (lambda job: job.fail(problem("failed")), 200),
        (lambda job: Job.objects.filter(pk=job.pk).update(updated_at=timezone.now()), 200),
        (lambda job: Job.objects.filter(pk=job.pk).update(forgotten=True), 404),
        (lambda job: Job.objects.filter(pk=job.pk).delete(), 404),
        (lambda job: Job.objects.filter(pk=job.pk).update(owner=None), 404),
    ],
    ids=["canceled", "ended", "progress", "forgotten", "purged", "withdrawn"],
)
def test_304_is_at_most_one_heartbeat_behind_another_process(job, alice, clock, change, status):
    """Contract 11, 18: what another process did to a job is told after one ``HEARTBEAT``, however the client asks."""
    running = job("running")
    tag = {"If-None-Match": alice.get(url(running)).headers["ETag"]}
    change(running)
    assert alice.get(url(running), headers={"If-None-Match": '"an-older-one"'}).status_code == status
    clock.tick(0.11)  # HEARTBEAT is 0.1 here
    for headers in (tag, tag | {"Prefer": "return=minimal"}):
        assert alice.get(url(running), headers=headers).status_code == status


def test_304_does_not_outlive_a_login(job, alice, base):
    """Contract 11, 18: a token that is withdrawn, or an owner who may not act any more, learns nothing."""
    running = job("running")
    full = alice.get(url(running))
    owner = get_user_model().objects.get(username="alice")
    owner.is_active = False
    owner.save()
    assert alice.get(url(running), headers={"If-None-Match": full.headers["ETag"]}).status_code == 401
    assert (
        requests.get(
            base + url(running), headers={"If-None-Match": full.headers["ETag"]}, timeout=5
        ).status_code
        == 404
    )


def test_304_is_not_for_who_was_staff_a_moment_ago(job, bob):
    """Contract 11, 18: what staff were shown by permission is asked for every time."""
    from django.contrib.auth.models import Permission

    running = job("running")
    user = get_user_model().objects.get(username="bob")
    user.is_staff = True
    user.save()
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    tag = {"If-None-Match": bob.get(url(running)).headers["ETag"]}
    assert bob.get(url(running), headers=tag).status_code == 304
    user.user_permissions.clear()
    assert bob.get(url(running), headers=tag).status_code == 404


FORMS = [
    "application/json",
    "application/json; indent=4",
    "application/vnd.shop+json",
    "text/csv",
]


@pytest.fixture
def forms(settings):
    """A project that adds further forms of JSON, and others, to those of this library."""
    from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer

    class Vendor(JSONRenderer):
        media_type = "application/vnd.shop+json"

    class Csv(JSONRenderer):
        media_type = "text/csv"
        format = "csv"

    added = (BrowsableAPIRenderer, Csv, Vendor, JSONRenderer)
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"RENDERER_CLASSES": added}


def test_each_representation_has_its_own_tag(job, alice, forms):
    """Contract 11, 12: by media type and its parameters; ``Vary`` says so, and any current tag holds for a change."""
    running = job("running")
    answers = {form: alice.get(url(running), headers={"Accept": form}) for form in FORMS}
    tags = {form: answer.headers["ETag"] for form, answer in answers.items()}
    assert len(set(tags.values())) == len(FORMS)
    for form, tag in tags.items():
        assert {"Accept", "Authorization", "Cookie", "Accept-Language"} <= set(
            re.split(r",\s*", answers[form].headers["Vary"])
        )
        for other in FORMS:
            headers = {"Accept": other, "If-None-Match": tag}
            assert alice.get(url(running), headers=headers).status_code == (304 if other == form else 200)
    changed = {"Accept": "text/csv", "If-Match": tags["application/vnd.shop+json"]}
    assert alice.post(url(running, "cancel/"), headers=changed).status_code == 202


@pytest.mark.parametrize("query", ["?format=html", "?format=api"])
def test_a_page_has_no_tag(job, alice, query):
    """Contract 11: it tells of reader and language too, which no tag of a job knows."""
    running = job("running")
    page = alice.get(url(running, query), headers={"Accept": "text/html"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert "ETag" not in page.headers
    again = alice.get(url(running, query), headers={"Accept": "text/html", "If-None-Match": "*"})
    assert again.status_code == 200


def test_the_document_is_the_same_in_every_language(job, alice):
    """Contract 11, 15: so is its tag."""
    running = job("failed")
    answers = [alice.get(url(running), headers={"Accept-Language": name}) for name in ("de", "ja", "en")]
    assert (
        len({answer.text for answer in answers}) == len({answer.headers["ETag"] for answer in answers}) == 1
    )


@pytest.mark.parametrize("endpoint", ["", "result/"])
@pytest.mark.parametrize("state", ["running", "succeeded", "failed"])
def test_head_is_as_get(job, alice, state, endpoint):
    """Contract 11: HEAD has the headers of GET and no body."""
    monitored = job(state)
    get, head = (alice(method, url(monitored, endpoint)) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert {k: v for k, v in head.headers.items() if k != "Date"} == {
        k: v for k, v in get.headers.items() if k != "Date"
    }


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("state", [*OPEN, *ENDED, "expired"])
def test_caching_headers(job, alice, state, method):
    """Contract 3, 10, 11: Sunset and Retry-After by state, at M and R; nothing is kept by others than the client."""
    made = job("succeeded", is_expired=True) if state == "expired" else job(state)
    ends = Job.objects.get().expires_at
    for endpoint in ("", "result/"):
        headers = alice(method, url(made, endpoint)).headers
        assert "Expires" not in headers
        assert headers["Cache-Control"] == ("no-store" if endpoint and state in OPEN else "private, no-cache")
        if state in OPEN:
            assert "Sunset" not in headers
            assert int(headers["Retry-After"]) >= 1
        else:
            assert "Retry-After" not in headers
            assert parsedate_to_datetime(headers["Sunset"]) == ends.replace(microsecond=0)


ALLOWED = {
    "": {"GET", "HEAD", "OPTIONS", "DELETE"},
    "result/": {"GET", "HEAD", "OPTIONS"},
    "cancel/": {"POST", "OPTIONS"},
    "rerun/": {"POST", "OPTIONS"},
    "events/": {"GET", "HEAD", "OPTIONS"},
}


@pytest.mark.parametrize("endpoint", ALLOWED)
def test_options_and_405_tell_what_is_allowed(job, alice, endpoint):
    """Contract 11, 15: the same at every endpoint, for each method that there is not, as a problem document."""
    made = job("running")
    methods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"}
    for method in sorted(methods - ALLOWED[endpoint]):
        response = alice(method, url(made, endpoint))
        assert response.status_code == 405, method
        assert set(response.headers["Allow"].split(", ")) == ALLOWED[endpoint]
        assert response.headers["Content-Type"] == "application/problem+json"
        assert method == "HEAD" or (response.json()["status"], response.json()["code"]) == (
            405,
            "method-not-allowed",
        )
    options = alice("OPTIONS", url(made, endpoint))
    assert options.status_code == 200
    assert set(options.headers["Allow"].split(", ")) == ALLOWED[endpoint]


ODD_TYPES = [
    "text/xml",
    "application/json; charset=nonsense",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded; charset=utf-32",
    "nonsense",
    ";;;",
]


@pytest.mark.parametrize("kind", ODD_TYPES)
@pytest.mark.parametrize("body", [b"", b"<a/>", b'{"a": NaN', b"\xff\xfe\x00", b"--x\r\nContent-"])
def test_a_body_that_is_not_read_does_no_harm(job, alice, kind, body):
    """Contract 11: cancel, rerun and DELETE take none, whatever it says it is."""
    headers = {"Content-Type": kind}
    assert alice("POST", url(job("running"), "cancel/"), data=body, headers=headers).status_code == 202
    assert alice("POST", url(job("failed"), "rerun/"), data=body, headers=headers).status_code == 202
    assert alice("DELETE", url(job("failed")), data=body, headers=headers).status_code == 204


def test_405_of_the_list(alice):
    """Contract 11: the list is read only."""
    assert alice.post("/api/jobs/", {}).status_code == 405


@pytest.mark.parametrize("state", ["running", "succeeded", "failed"])
@pytest.mark.parametrize("wish", [{"headers": {"Accept": "application/xml"}}, {"params": {"format": "csv"}}])
def test_a_result_is_never_406(job, alice, state, wish):
    """Contract 13: a 406 would be a final failure to every client, so R answers as it does without a wish."""
    path = url(job(state), "result/")
    answer, usual = alice.get(path, **wish), alice.get(path)
    assert (answer.status_code, answer.content) == (usual.status_code, usual.content)
    assert answer.headers["Content-Type"] == usual.headers["Content-Type"]


@pytest.mark.parametrize("endpoint", ["", "cancel/"])
def test_406(job, alice, endpoint):
    """Contract 11: what cannot be produced is 406, never a 500, and nothing was done."""
    running = job("running")
    method = "POST" if endpoint == "cancel/" else "GET"
    response = alice(method, url(running, endpoint), headers={"Accept": "application/xml"})
    assert response.status_code == 406
    assert response.json()["code"] == "not-acceptable"
    assert response.headers["Content-Type"] == "application/problem+json"
    assert Job.objects.get().state == "running"


def test_format_parameter(job, alice):
    """Contract 11: ``?format=json`` as anywhere; an unknown one is 404."""
    running = job("running")
    assert alice.get(url(running, "?format=json")).status_code == 200
    assert alice.get(url(running, "?format=nonsense")).status_code == 404


def test_if_match(job, alice):
    """Contract 12: an old tag is 412 and nothing is changed; the current one, ``*``, and none are let through."""
    running = job("running")
    old = alice.get(url(running)).headers["ETag"]
    Job.objects.update(
        updated_at=timezone.now() + timedelta(seconds=1), progress={"current": 1, "message": ""}
    )
    done = job("failed")
    for method, path in [
        ("POST", url(running, "cancel/")),
        ("DELETE", url(running)),
        ("POST", url(done, "rerun/")),
        ("DELETE", url(done)),
    ]:
        for tag in (old, f"W/{old}", "garbage", ""):
            response = alice(method, path, headers={"If-Match": tag})
            assert response.status_code == 412, (method, path, tag)
            assert response.headers["Content-Type"] == "application/problem+json"
    assert Job.objects.count() == 2
    assert Job.objects.get(pk=running.pk).state == "running"

    current = alice.get(url(done)).headers["ETag"]
    assert alice.post(url(done, "rerun/"), headers={"If-Match": f'"x", {current}'}).status_code == 202
    assert alice.post(url(running, "cancel/"), headers={"If-Match": "*"}).status_code == 202


def test_if_match_of_any_representation(job, alice):
    """Contract 12: the tag of the document holds, whatever form the answer to the change will have."""
    running = job("running")
    tag = alice.get(url(running), headers={"Accept": "application/json"}).headers["ETag"]
    response = alice.post(url(running, "cancel/"), headers={"If-Match": tag, "Accept": "*/*"})
    assert response.status_code == 202


def test_if_match_wins_one_race(job, alice):
    """Contract 12: of several changes that name the same version, one goes through."""
    running = job("running")
    tag = alice.get(url(running)).headers["ETag"]
    answers = together(8, lambda _: alice.post(url(running, "cancel/"), headers={"If-Match": tag}))
    assert sorted(answer.status_code for answer in answers) == [202] + [412] * 7


# --- Long polls ----------


@pytest.mark.parametrize("how", [{"params": {"wait": "10"}}, {"headers": {"Prefer": "wait=10"}}])
@pytest.mark.parametrize("endpoint", ["", "result/"])
def test_long_poll_answers_early(job, alice, how, endpoint):
    """Contract 14: it answers on any change of status, not at the end of the wait."""
    accepted = job("accepted")
    timer = threading.Timer(0.5, lambda: Job.objects.get().cancel())
    timer.start()
    began = time.monotonic()
    response = alice.get(url(accepted, endpoint), **how)
    assert time.monotonic() - began < 8
    timer.join()
    assert response.json()["status"] in ("canceled", 409)
    applied = "wait=10" if "headers" in how else None  # a query parameter is no preference
    assert response.headers.get("Preference-Applied") == applied


def test_long_poll_is_capped(job, alice, settings):
    """Contract 14: capped by the setting; then the document as it stands."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_WAIT_SECONDS": 1}
    began = time.monotonic()
    response = alice.get(url(job("running"), "?wait=3600"))
    assert 0.9 < time.monotonic() - began < 8
    assert (response.status_code, response.json()["status"]) == (200, "running")


def test_long_poll_answers_with_the_newest_document(job, alice, monkeypatch):
    """Contract 14: also where the status stayed the same; and a job that went meanwhile is 404."""
    from async_accept.jobs.watcher import Watcher

    running = job("running")
    shown = {"progress": {"current": 1, "message": "half"}, "updated_at": timezone.now()}
    monkeypatch.setattr(Watcher, "wait", lambda *args, **kwargs: not Job.objects.update(**shown))
    assert alice.get(url(running, "?wait=1")).json()["message"] == "half"
    monkeypatch.setattr(Watcher, "wait", lambda *args, **kwargs: not Job.objects.all().delete())
    assert alice.get(url(running, "result/?wait=1")).status_code == 404


@pytest.mark.parametrize("wait", ["0", "-1", "1.5", "x", "", "9" * 5000, "\0", "\uff11"])
def test_long_poll_ignores_garbage(job, alice, settings, wait):
    """Contract 14: what is no number of seconds is not waited for."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_WAIT_SECONDS": 1}
    response = alice.get(url(job("running")), params={"wait": wait})
    assert response.status_code == 200


def test_a_final_job_is_not_waited_for(job, alice):
    """Contract 14: at once, and no preference is said to be honoured."""
    began = time.monotonic()
    response = alice.get(url(job("succeeded")), headers={"Prefer": "wait=10"})
    assert time.monotonic() - began < 5
    assert "Preference-Applied" not in response.headers


# --- The list ----------


def test_list_is_newest_first_in_pages(job, alice, bob):
    """Contract 9: own jobs, newest first, cursor pages."""
    made = [str(job("accepted").pk) for _ in range(5)]
    page = alice.get("/api/jobs/?page_size=2").json()
    seen = [item["id"] for item in page["results"]]
    while page["next"]:
        page = alice.get(page["next"]).json()
        seen += [item["id"] for item in page["results"]]
    assert seen == made[::-1]
    assert bob.get("/api/jobs/").json()["results"] == []


def test_list_filters(job, alice):
    """Contract 9: by status, operation and time."""
    old = job("failed", created_at=timezone.now() - timedelta(days=2))
    new = job("running", operation="other.thing")

    def listed(query):
        return {item["id"] for item in alice.get(f"/api/jobs/?{query}").json()["results"]}

    assert listed("status=failed") == listed("operation=sums.add") == {str(old.pk)}
    assert listed("status=failed,running") == {str(old.pk), str(new.pk)}
    yesterday = (timezone.now() - timedelta(days=1)).isoformat()
    assert listed(f"created_after={yesterday}") == {str(new.pk)}
    assert listed(f"created_before={yesterday.replace('+', '%2B')}") == {str(old.pk)}


@pytest.mark.parametrize(
    "query",
    [
        "status=nonsense",
        "status=%00",
        "status=failed,",
        "operation=%00",
        "created_after=yesterday",
        "created_after=%00",
        "created_before=2026-02-30T00:00:00Z",
        "created_before=0001-01-01T00:00:00%2B23:59",
        "created_after=9999-12-31T23:59:59-23:59",
    ],
)
def test_bad_filters_are_400(job, alice, query):
    """Contract 15: a bad filter is a problem with the field's error."""
    job("failed")
    response = alice.get(f"/api/jobs/?{query}")
    assert response.status_code == 400, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert query.split("=")[0] in response.json()["errors"]


@pytest.mark.parametrize(
    "query",
    [
        "cursor=nonsense",
        "cursor=cD1ub25zZW5zZQ==",  # p=nonsense
        "cursor=cD0lMDA=",  # p=%00
        "cursor=bz0tMQ==",  # o=-1
        "cursor=bz05OTk5OTk5OTk5OTk5OTk5OTk5OTk5",  # o=9999…
        "cursor=%00",
        "cursor=" + "A" * 5000,
        "cursor=é",
        "page_size=0",
        "page_size=-1",
        "page_size=9999999",
        "page_size=%00",
    ],
)
def test_bad_pages_are_no_500(job, alice, query):
    """Contract 11: cursors and sizes that nobody gave out."""
    job("failed")
    response = alice.get(f"/api/jobs/?{query}")
    assert response.status_code in (200, 400, 404), response.text[-2000:]
    if response.status_code != 200:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["code"] in ("not-found", "invalid")


# --- Reads change nothing ----------


@pytest.mark.parametrize("state", [*OPEN, *ENDED])
def test_reads_change_nothing(job, alice, state):
    """Contract 17: GET and HEAD change nothing, however often."""
    made = job(state)
    before = Job.objects.values().get()
    for method in ("GET", "HEAD", "OPTIONS"):
        for endpoint in ("", "result/", "events/", "cancel/", "rerun/", "?wait=0"):
            for _ in range(2):
                assert alice(method, url(made, endpoint)).status_code < 500
        assert alice(method, "/api/jobs/").status_code == 200
    assert Job.objects.values().get() == before


# --- Throttles ----------


def test_over_eager_polls_are_429(job, alice, bob, settings):
    """Contract 19: a scope of its own, Retry-After of at least 1, and the job is untouched."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"POLL_RATE": "3/min"}
    running = job("running")
    before = Job.objects.values().get()
    answers = [alice.get(url(running, endpoint)) for endpoint in ("", "result/", "", "")]
    assert [answer.status_code for answer in answers] == [200, 202, 200, 429]
    refused = answers[-1]
    assert re.fullmatch(r"[1-9]\d*", refused.headers["Retry-After"])
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["code"] == "throttled"
    assert Job.objects.values().get() == before
    other = job("running")
    assert alice.get(url(other)).status_code == 200  # each job has its own
    assert bob.get(url(running)).status_code == 404  # and each caller


def test_an_over_eager_client_can_still_change_its_job(job, alice, settings):
    """Contract 19: cancel, rerun and DELETE are no polls."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"POLL_RATE": "1/h"}
    running = job("running")
    assert [alice.get(url(running)).status_code for _ in range(2)] == [200, 429]
    assert alice.post(url(running, "cancel/")).status_code == 202
    assert alice.post(url(running, "rerun/")).status_code == 409
    assert alice.delete(url(running)).status_code == 202


def test_malformed_ids_share_no_loophole(job, alice, settings):
    """Contract 19: another spelling of the id is no other job."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"POLL_RATE": "2/min"}
    pk = str(job("running").pk)
    assert [alice.get(url(name)).status_code for name in (pk, pk, pk.upper())] == [200, 200, 429]


def test_no_poll_rate(job, alice, settings):
    """Contract 19: None is no limit."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"POLL_RATE": None}
    running = job("running")
    assert {alice.get(url(running)).status_code for _ in range(30)} == {200}


# --- Sessions ----------


@pytest.fixture
def session(alice):
    """A browser's session of alice's."""
    from django.test import Client

    browser = Client()
    browser.force_login(get_user_model().objects.get(username="alice"))
    client = requests.Session()
    client.trust_env = False
    for name, morsel in browser.cookies.items():
        client.cookies.set(name, morsel.value)
    return client


def test_a_session_needs_its_csrf_token(job, alice, session, base):
    """Contract 2, 17: accepting, cancel, rerun and DELETE are refused without it; the order is the same for any id."""
    running, done = job("running"), job("failed")
    targets = [
        ("POST", "/api/policies/always/class/"),
        *(
            (method, url(pk, end))
            for pk in (running.pk, UNKNOWN)
            for method, end in (("POST", "cancel/"), ("DELETE", ""))
        ),
        *(("POST", url(pk, "rerun/")) for pk in (done.pk, UNKNOWN)),
    ]
    answers = {
        session.request(method, base + path, json={"x": 1, "y": 1}, timeout=5).status_code
        for method, path in targets
    }
    assert answers == {403}
    assert session.get(base + url(running), timeout=5).status_code == 200
    assert Job.objects.count() == 2
    token = "a" * 32
    session.cookies.set("csrftoken", token)
    for method, path in targets:
        response = session.request(
            method, base + path, json={"x": 1, "y": 1}, headers={"X-CSRFToken": token}, timeout=5
        )
        assert response.status_code == (404 if UNKNOWN in path else 202)


@pytest.mark.parametrize("kind", ODD_TYPES)
def test_an_odd_body_in_a_session_is_no_500(job, session, base, kind):
    """Contract 11, 15: there the body is looked through for the CSRF token."""
    session.cookies.set("csrftoken", "a" * 32)
    for method, path in (("POST", url(job("running"), "cancel/")), ("DELETE", url(job("failed")))):
        response = session.request(
            method,
            base + path,
            data=b"--x\r\nContent-\xff",
            headers={"Content-Type": kind, "X-CSRFToken": "a" * 32},
            timeout=5,
        )
        if response.status_code == 400:
            assert kind.startswith("multipart")
            assert response.json()["code"] == "parse-error"
        else:
            assert response.status_code in (202, 204)


def test_the_buttons_of_a_page_work_whatever_the_project_parses(job, session, base, settings):
    """Contract 11: they are forms, and the views of the project may take JSON only."""
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"]
    }
    session.cookies.set("csrftoken", "a" * 32)
    form = {"csrfmiddlewaretoken": "a" * 32}
    running = job("running")
    assert session.post(base + url(running, "cancel/"), data=form, timeout=5).status_code == 202


def test_progress_is_seen_while_it_runs(alice, worker):
    """Contract 9: the worker's word reaches the status document."""
    accepted = alice.post("/api/gates/free/", {"name": "seen"})
    document = alice.until(accepted, "running")
    from tests.contract.conftest import eventually

    monitor = accepted.headers["Operation-Location"]
    document = eventually(lambda: (d := alice.get(monitor).json())["progress"] and d)
    assert (document["progress"]["percent"], document["message"]) == (50, "At the gate")
    contract_tasks.gate("seen").set()
    assert alice.follow(accepted).json() == {"passed": "seen"}
