"""Contract 15: problem documents, and unexpected errors, at the endpoints of jobs."""

import logging
import re

import pytest
from django.core import mail
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.signals import got_request_exception
from django.test import Client, override_settings
from rest_framework.views import exception_handler

from async_accept.http.views import JobViewSet
from async_accept.testing import make_job
from tests.contract.cases import SUM
from tests.contract.conftest import url

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "the moon at /srv/shop/moon.py"
ENDPOINTS = [
    ("GET", ""),
    ("GET", "result/"),
    ("GET", "events/"),
    ("POST", "cancel/"),
    ("POST", "rerun/"),
    ("DELETE", ""),
]


@pytest.fixture
def monitor(alice) -> str:
    return str(alice.post("/api/policies/always/class/", SUM).headers["Operation-Location"])


def broken(error: Exception):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.fixture
def heard():
    """What error trackers hear of."""
    signals = []

    def hear(**kwargs):
        signals.append(kwargs["request"])

    got_request_exception.connect(hear)
    yield signals
    got_request_exception.disconnect(hear)


@pytest.mark.parametrize(("method", "endpoint"), ENDPOINTS)
def test_an_unknown_exception_is_one_fixed_sentence(
    alice, monitor, monkeypatch, heard, caplog, method, endpoint
):
    """Contract 15: and a reference that is found in the log; no message, no traceback, no path."""
    monkeypatch.setattr(JobViewSet, "get_queryset", broken(RuntimeError(SECRET)))
    response = alice(method, monitor + endpoint)
    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    document = response.json()
    assert (document["code"], document["status"]) == ("error", 500)
    assert (document["title"], document["detail"]) == ("A server error occurred", "A server error occurred.")
    assert re.fullmatch("[0-9a-f]{12}", document["reference"])
    for word in ("moon", "RuntimeError", "Traceback", ".py"):
        assert word not in response.text
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.name == "django.request"
    assert document["reference"] in record.getMessage()
    assert record.exc_info[0] is RuntimeError
    (request,) = heard
    assert request.method == method


def test_the_admins_get_their_mail(monitor, alice, monkeypatch):
    """Contract 15: Django tells them of this 500 as of its own."""
    monkeypatch.setattr(JobViewSet, "get_queryset", broken(RuntimeError(SECRET)))
    with override_settings(ADMINS=[("A", "a@shop.example")]):
        reference = alice.get(monitor).json()["reference"]
    (message,) = mail.outbox
    assert reference in message.subject
    assert SECRET in message.body


def test_djangos_test_client_raises_it(monkeypatch):
    """Contract 15: a test of the project's sees what happened."""
    job = make_job("tests.testapp.tasks.add")
    monkeypatch.setattr(JobViewSet, "get_queryset", broken(RuntimeError(SECRET)))
    with pytest.raises(RuntimeError, match="moon"):
        Client().get(f"/api/jobs/{job.pk}/")
    assert Client(raise_request_exception=False).get(f"/api/jobs/{job.pk}/").status_code == 500


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_debug_shows_djangos_page(monkeypatch, settings, accept):
    """Contract 15: while DEBUG is on, the developer sees the traceback."""
    settings.DEBUG = True
    job = make_job("tests.testapp.tasks.add")
    monkeypatch.setattr(JobViewSet, "get_queryset", broken(RuntimeError(SECRET)))
    client = Client(raise_request_exception=False, headers={"accept": accept})
    assert "moon" in client.get(f"/api/jobs/{job.pk}/").content.decode()


def test_what_breaks_in_the_document_is_told_alike(alice, monitor, monkeypatch):
    """Contract 15: wherever it happens before the answer is made."""
    monkeypatch.setattr("async_accept.http.monitor.rfc3339", broken(ValueError(SECRET)))
    response = alice.get(monitor)
    assert (response.status_code, response.json()["code"]) == (500, "error")
    assert "moon" not in response.text


def test_djangos_own_refusals_keep_their_status(alice, monitor, monkeypatch):
    """Contract 15: what a project's classes may raise; Django logs what is suspicious by itself."""
    for error, status in ((PermissionDenied(SECRET), 403), (SuspiciousOperation(SECRET), 400)):
        monkeypatch.setattr(JobViewSet, "get_queryset", broken(error))
        response = alice.get(monitor)
        assert response.status_code == status
        assert "moon" not in response.text
    assert response.headers["Content-Type"].startswith("text/html")


# --- Titles and codes ----------


def test_titles_are_constant(alice, anybody):
    """Contract 15: ``title`` per type, ``status`` equal to the HTTP status, ``type`` a documented URI, ``message``."""
    for response, status, code in [
        (alice.get(url("nothing")), 404, "not-found"),
        (alice("PUT", url("nothing")), 405, "method-not-allowed"),
        (alice("PATCH", url("nothing")), 405, "method-not-allowed"),
        (alice.get("/api/jobs/?status=x"), 400, "invalid"),
        (anybody.get("/api/jobs/", headers={"Authorization": "Token x"}), 401, "authentication-failed"),
    ]:
        problem = response.json()
        assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
        assert problem["type"].endswith(f"problems.html#{code}")
        assert problem["message"] == problem["detail"] != ""
        assert problem["title"]
        assert not re.search(r"PUT|PATCH|nothing", problem["title"])


def test_titles_differ_by_type(job, alice, configure):
    """Contract 15: one title per type, and another one for another type."""
    done, running, gone = job("succeeded"), job("running"), job("failed", input=None)
    answers = [
        alice.get(url("nothing")),
        alice("PUT", url("nothing")),
        alice.get("/api/jobs/?status=x"),
        alice.get(url("other"), headers={"Accept": "application/xml"}),
        alice.post(url(done, "cancel/")),
        alice.post(url(running, "rerun/")),
        alice.post(url(gone, "rerun/")),
        alice.post(url(running, "cancel/"), headers={"If-Match": '"old"'}),
    ]
    configure(POLL_RATE="1/min")
    answers.append([alice.get(url(running)) for _ in range(2)][-1])
    codes = {answer.json()["code"]: answer.json()["title"] for answer in answers}
    assert len(set(codes.values())) == len(codes) == len(answers), codes


@pytest.mark.parametrize("language", ["de", "ja", "en"])
def test_a_title_is_the_same_in_every_language(alice, anybody, monitor, language):
    """Contract 15: constant for its type, so English; so is ``detail``, and the answer says so."""
    headers = {"Accept-Language": language}
    unacceptable = headers | {"Accept": "application/xml"}
    answers = [
        alice("PUT", monitor, headers=headers),
        alice.get(monitor, headers=unacceptable),
        alice.get("/api/jobs/?status=x", headers=headers),
        alice.get("/api/jobs/x/", headers=headers),
        anybody.get("/api/jobs/", headers=headers | {"Authorization": "Token x"}),
    ]
    assert [answer.json()["title"] for answer in answers] == [
        "Method not allowed",
        "Could not satisfy the request Accept header",
        "Invalid input",
        "No such job",
        "Incorrect authentication credentials",
    ]
    assert answers[0].json()["detail"] == 'Method "PUT" not allowed.'
    assert {answer.headers["Content-Language"] for answer in answers} == {"en"}


def test_the_projects_own_error_format_is_not_ours(alice, settings):
    """Contract 15: an exception handler of the project changes nothing at the endpoints of jobs."""
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"EXCEPTION_HANDLER": f"{__name__}.listed"}
    response = alice("PUT", url("nothing"))
    assert (response.status_code, response.json()["code"]) == (405, "method-not-allowed")
    refused = alice.post("/api/policies/always/class/", {"x": -1})
    assert (refused.status_code, refused.json()[0]) == (400, "mine")


def listed(exc, context):
    response = exception_handler(exc, context)
    if response is not None:
        response.data = ["mine", str(exc)]
    return response
