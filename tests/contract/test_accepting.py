"""Contract 1 to 4: what every accepting view answers, asked of each kind of view."""

import re
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.utils import timezone

from async_accept.models import Job
from tests.celery import app
from tests.contract.cases import CASES, SUM, every_view, every_view_with_input
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


@every_view
def test_202_carries_every_header(case, alice):
    """Contract 1: absolute URLs, one Location line, and the body is what GET M gives."""
    response = alice(case.method, case.url(), case.data, headers={"Prefer": "respond-async"})

    assert response.status_code == 202
    job = Job.objects.get()
    monitor = f"{alice.base}/api/jobs/{job.pk}/"
    headers = response.headers
    assert headers["Location"] == f"{monitor}result/"
    assert headers["Operation-Location"] == headers["Content-Location"] == monitor
    assert headers["Link"] == f'<{monitor}>; rel="monitor", <{monitor}result/>; rel="related"; title="result"'
    assert headers["Retry-After"] == "1"
    assert headers["Cache-Control"] == "no-store"
    assert {"Prefer", "Accept", "Authorization", "Cookie"} <= set(re.split(r",\s*", headers["Vary"]))
    assert headers["Preference-Applied"] == "respond-async"
    assert headers["Content-Type"] == "application/json"
    assert response.raw.headers.getlist("Location") == [headers["Location"]]
    assert response.json() == alice.get(monitor).json()


@every_view
def test_answer_follows_when_the_work_is_done(case, alice, worker):
    """Contract 2: the work happens later, and its answer is the one of a synchronous call."""
    response = alice(case.method, case.url(), case.data)
    assert response.status_code == 202
    answer = alice.follow(response)
    assert answer.status_code == case.status
    if case.status == 204:
        assert answer.content == b""
    elif isinstance(case.body, dict):
        assert case.body.items() <= answer.json().items()
    else:
        assert answer.json() == case.body


@every_view_with_input
def test_invalid_input_is_400_at_once(case, alice):
    """Contract 2: 400 leaves no job, and the host view's own error format is left alone (contract 15)."""
    response = alice(case.method, case.url(), case.bad)
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/json"
    assert set(response.json()) & {"slug", "x", "times"}
    assert "Prefer" in response.headers["Vary"]
    assert not Job.objects.exists()


@every_view
def test_the_host_views_own_refusals_come_first(case, alice, anybody):
    """Contract 2: 401, 403, 404, 415, 429 of the host view apply before anything is stored."""
    url = case.url()
    unauthenticated = anybody(case.method, url, case.data)
    assert unauthenticated.status_code == 401
    assert unauthenticated.headers["WWW-Authenticate"] == "Token"
    assert alice(case.method, url, case.data, headers={"X-Forbid": "1"}).status_code == 403
    throttled = alice(case.method, url, case.data, headers={"X-Throttle": "1"})
    assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "4")
    if case.method != "DELETE":
        odd = alice(case.method, url, data="<a/>", headers={"Content-Type": "text/xml"})
        assert odd.status_code == 415
        assert (
            alice(case.method, url, data="{", headers={"Content-Type": "application/json"}).status_code == 400
        )
    if case.needs_note:
        Note.objects.all().delete()
        assert alice(case.method, url, case.data).status_code == 404
    assert not Job.objects.exists()


def test_urls_are_built_by_the_request(alice, settings):
    """Contract 1: host checks and proxy settings hold."""
    settings.USE_X_FORWARDED_HOST = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.ALLOWED_HOSTS = ["shop.example"]
    behind = {"X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https"}
    accepted = alice.post("/api/policies/always/class/", SUM, headers=behind)
    assert urlsplit(accepted.headers["Location"])[:2] == ("https", "shop.example")
    assert accepted.json()["url"].startswith("https://shop.example/")
    assert (
        alice.post("/api/policies/always/class/", SUM, headers={"X-Forwarded-Host": "evil"}).status_code
        == 400
    )
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("age_seconds", "seconds"), [(0, "1"), (11, "2"), (61, "5"), (601, "15"), (86400, "15")]
)
def test_retry_after_grows_with_age(alice, age_seconds, seconds):
    """Contract 3: an integer, short for young jobs, longer for old ones, on M and R alike."""
    accepted = alice.post("/api/policies/always/class/", SUM)
    Job.objects.update(created_at=timezone.now() - timedelta(seconds=age_seconds))
    for url in (accepted.headers["Location"], accepted.headers["Operation-Location"]):
        assert alice.get(url).headers["Retry-After"] == seconds


def test_view_says_its_own_retry_after(alice):
    """Contract 3: a view can say its own."""
    for case in CASES.values():
        response = alice(case.method, case.url("patient"), case.data)
        assert response.headers["Retry-After"] == "7"
        assert alice.get(response.headers["Location"]).headers["Retry-After"] == "7"


def test_task_says_its_own_retry_after(alice):
    """Contract 3: a task can say its own."""
    response = alice.post("/api/contract-tasks/bare/", {})
    assert response.headers["Retry-After"] == "9"
    assert alice.get(response.headers["Operation-Location"]).headers["Retry-After"] == "9"


@pytest.mark.parametrize("own", [0, 0.4, 1.5, -3])
def test_retry_after_is_never_zero_nor_a_fraction(alice, own, monkeypatch):
    """Contract 3: 0 and fractions break clients."""
    monkeypatch.setattr(app.tasks["tests.testapp.contract_tasks.bare"], "retry_after", own)
    response = alice.post("/api/contract-tasks/bare/", {})
    assert response.status_code == 202
    assert re.fullmatch(r"[1-9]\d*", response.headers["Retry-After"])
    assert re.fullmatch(r"[1-9]\d*", alice.get(response.headers["Location"]).headers["Retry-After"])


# --- Prefer ----------


@every_view
def test_prefer_mode_answers_at_once_unless_asked(case, alice):
    """Contract 4: ``accept_mode = "prefer"`` gives 202 only with respond-async, else the synchronous answer."""
    url = case.url("prefer")
    asked = alice(case.method, url, case.data, headers={"Prefer": "respond-async"})
    assert (asked.status_code, asked.headers["Preference-Applied"]) == (202, "respond-async")
    Job.objects.all().delete()

    plain = alice(case.method, url, case.data)
    assert plain.status_code == case.status
    assert "Prefer" in plain.headers["Vary"]
    assert "Preference-Applied" not in plain.headers
    assert not Job.objects.exists()


@every_view
def test_a_method_decides_per_request(case, alice):
    """Contract 4: small requests are answered at once, others later."""
    url = case.url("decide")
    assert alice(case.method, url, case.data).status_code == 202
    small = alice(case.method, url, case.data, headers={"X-Small": "1"})
    assert small.status_code == case.status
    assert "Prefer" in small.headers["Vary"]
    assert Job.objects.count() == 1


@every_view
def test_wait_gives_the_genuine_answer(case, alice, worker):
    """Contract 4: ``wait=N`` answers with the final answer if the job ends in time; the worker does the work."""
    preferred = {"Prefer": "respond-async, wait=10, return=minimal, handling=lenient"}
    response = alice(case.method, case.url(), case.data, headers=preferred)
    assert response.status_code == case.status, response.text
    assert response.headers["Preference-Applied"] == "wait=10"
    assert "Prefer" in response.headers["Vary"]
    assert "Retry-After" not in response.headers
    assert Job.objects.get().worker  # not in the web process


@every_view
def test_what_is_answered_at_once_honours_nothing(case, alice):
    """Contract 4: Preference-Applied names only what was honoured, and Vary lists Prefer all the same."""
    headers = {"X-Small": "1", "Prefer": "respond-async, wait=5, return=minimal, handling=lenient"}
    response = alice(case.method, case.url("decide"), case.data, headers=headers)
    assert response.status_code == case.status
    assert "Preference-Applied" not in response.headers
    assert "Prefer" in response.headers["Vary"]


@pytest.mark.parametrize("kind", ["create", "update", "destroy", "action", "class", "function-whole"])
def test_every_refusal_varies_by_prefer(kind, alice, anybody):
    """Contract 4: also what comes before the handler, wherever accepting surrounds the whole view."""
    case = CASES[kind]
    url = case.url()
    refused = [
        anybody(case.method, url, case.data),
        alice(case.method, url, case.data, headers={"X-Forbid": "1"}),
        alice(case.method, url, case.data, headers={"X-Throttle": "1"}),
        alice(case.method, url, data="<a/>", headers={"Content-Type": "text/xml"}),
        alice(case.method, url, case.data, headers={"Accept": "image/png"}),
    ]
    assert [response.status_code for response in refused[:3]] == [401, 403, 429]
    assert all("Prefer" in response.headers["Vary"] for response in refused)


@every_view
def test_wait_ends_with_202(case, alice, settings):
    """Contract 4: no worker, no answer in time: 202, and the wait is capped by the setting."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_WAIT_SECONDS": 1}
    response = alice(case.method, case.url(), case.data, headers={"Prefer": "respond-async, wait=100"})
    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "respond-async, wait=1"
    assert Job.objects.get().state == "accepted"


def test_wait_gives_a_problem_too(alice, worker):
    """Contract 4: a job that fails in time answers its own 4xx, as a problem document."""
    from tests.testapp import contract_tasks

    contract_tasks.gate("wrong").set()
    data = {"name": "wrong", "refuse": True}
    response = alice.post("/api/gates/free/", data, headers={"Prefer": "wait=10"})
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "wrong-gate"


def test_wait_is_not_said_to_be_honoured_when_it_was_not(alice, settings):
    """Contract 4: Preference-Applied names only what was honoured; too many wait already."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_WAITERS": 0}
    response = alice.post("/api/policies/always/class/", SUM, headers={"Prefer": "wait=5"})
    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers


@every_view
def test_minimal_keeps_all_headers(case, alice):
    """Contract 4: ``return=minimal`` has no body and every header."""
    full = alice(case.method, case.url(), case.data)
    minimal = alice(case.method, case.url(), case.data, headers={"Prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (202, b"")
    assert minimal.headers["Preference-Applied"] == "return=minimal"
    ours = ("Location", "Operation-Location", "Link", "Retry-After", "Cache-Control", "Vary")
    assert set(ours) <= set(full.headers) & set(minimal.headers)


@pytest.mark.parametrize(
    ("lines", "applied"),
    [
        (["RESPOND-Async"], "respond-async"),
        (["return=representation", "return=minimal"], None),
        (["foo; bar=1, respond-async;x=y", "WAIT=0"], "respond-async"),
        (['return="minimal"'], "return=minimal"),
        (["nonsense==, ,,; respond-async=1"], None),
    ],
)
def test_prefer_lines_are_one_list(alice, lines, applied):
    """Contract 4: names are case-insensitive, the first of duplicates wins, unknown ones are ignored."""
    response = alice.post("/api/policies/always/class/", SUM, headers={"Prefer": ", ".join(lines)})
    assert response.status_code == 202
    assert response.headers.get("Preference-Applied") == applied
