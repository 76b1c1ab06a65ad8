"""Contract 1, 2, 3: what every accepting view answers, asked of each kind of view."""

import re
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.utils import timezone

from async_accept.models import Job
from tests.celery import app
from tests.contract.cases import CASES, SUM, every_view, every_view_with_input
from tests.contract.raw import send
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/policies/always/class/"


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
    """Contract 2, 4: 401, 403, 404, 406, 415, 429 come before anything is stored, and vary by Prefer."""
    url, json = case.url(), {"Content-Type": "application/json"}
    refused = {
        401: anybody(case.method, url, case.data),
        403: alice(case.method, url, case.data, headers={"X-Forbid": "1"}),
        429: alice(case.method, url, case.data, headers={"X-Throttle": "1"}),
        406: alice(case.method, url, case.data, headers={"Accept": "image/png"}),
    }
    assert refused[401].headers["WWW-Authenticate"] == "Token"
    assert refused[429].headers["Retry-After"] == "4"
    if case.method != "DELETE":
        refused[415] = alice(case.method, url, data="<a/>", headers={"Content-Type": "text/xml"})
        refused[400] = alice(case.method, url, data="{", headers=json)
    if case.needs_note:
        Note.objects.all().delete()
        refused[404] = alice(case.method, url, case.data)
    for status, response in refused.items():
        assert response.status_code == status
        assert "Prefer" in response.headers["Vary"] or not case.is_wrapped, status
    assert not Job.objects.exists()


def test_urls_are_built_by_the_request(alice, settings):
    """Contract 1: host checks and proxy settings hold."""
    settings.USE_X_FORWARDED_HOST = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.ALLOWED_HOSTS = ["shop.example"]
    behind = {"X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https"}
    accepted = alice.post(URL, SUM, headers=behind)
    assert urlsplit(accepted.headers["Location"])[:2] == ("https", "shop.example")
    assert accepted.json()["url"].startswith("https://shop.example/")
    assert alice.post(URL, SUM, headers={"X-Forwarded-Host": "evil"}).status_code == 400
    assert Job.objects.count() == 1


def test_retry_after_grows_with_age(alice):
    """Contract 3: an integer, short for young jobs, longer for old ones, on M and R alike."""
    accepted = alice.post(URL, SUM)
    for age_seconds, seconds in ((0, "1"), (11, "2"), (61, "5"), (601, "15"), (86400, "15")):
        Job.objects.update(created_at=timezone.now() - timedelta(seconds=age_seconds))
        for name in ("Location", "Operation-Location"):
            assert alice.get(accepted.headers[name]).headers["Retry-After"] == seconds, (age_seconds, name)


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


def test_retry_after_is_never_zero_nor_a_fraction(alice, monkeypatch):
    """Contract 3: 0 and fractions break clients."""
    for own in (0, 0.4, 1.5, -3):
        monkeypatch.setattr(app.tasks["tests.testapp.contract_tasks.bare"], "retry_after", own)
        response = alice.post("/api/contract-tasks/bare/", {})
        assert response.status_code == 202
        assert re.fullmatch(r"[1-9]\d*", response.headers["Retry-After"])
        assert re.fullmatch(r"[1-9]\d*", alice.get(response.headers["Location"]).headers["Retry-After"])


# --- Details ----------


def test_each_header_is_one_line(alice):
    """Contract 1: also in the answer to a form."""
    form = b"Content-Type: application/x-www-form-urlencoded"
    names = [name for name, _ in send(alice, "POST", URL, form, data=b"x=1&y=2").headers]
    assert {"location", "operation-location", "content-location", "link", "retry-after", "vary"} <= set(names)
    assert len(names) == len(set(names))


def test_urls_do_not_keep_the_form_of_one_answer(alice):
    """Contract 1: ``?format=`` is for this request; a client that follows a URL says itself what it wants."""
    accepted = alice.post(f"{URL}?format=json", SUM)
    urls = [accepted.headers[name] for name in ("Location", "Operation-Location", "Content-Location", "Link")]
    urls += [value for name, value in accepted.json().items() if name.endswith("url")]
    assert len(urls) == 9
    assert not any("format" in url for url in urls)


def test_put_is_whole_and_patch_is_not(alice):
    """Contract 2: a missing member is 400 at once with PUT; with PATCH it stays as it is."""
    note = Note.objects.create(slug="a", title="A")
    path = f"/api/policies/always/notes/{note.pk}/"
    refused = alice("PUT", path, {"slug": "b"})
    assert (refused.status_code, set(refused.json())) == (400, {"title"})
    assert not Job.objects.exists()
    assert alice("PATCH", path, {"slug": "b"}).status_code == 202
