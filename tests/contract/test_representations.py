"""Contract 11, 14, 15: methods and media types of the endpoints of jobs, whatever the project's own views speak."""

import pytest
import requests
from rest_framework import renderers
from rest_framework.views import APIView

from async_accept.models import Job
from tests.contract.conftest import UNKNOWN, url

pytestmark = pytest.mark.django_db(transaction=True)

ALLOWED = {
    "": {"GET", "HEAD", "OPTIONS", "DELETE"},
    "result/": {"GET", "HEAD", "OPTIONS"},
    "cancel/": {"POST", "OPTIONS"},
    "rerun/": {"POST", "OPTIONS"},
    "events/": {"GET", "HEAD", "OPTIONS"},
}
ODD_TYPES = [
    "text/xml",
    "application/json; charset=nonsense",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded; charset=utf-32",
    "nonsense",
    ";;;",
]


# --- Methods ----------


@pytest.mark.parametrize("endpoint", ["", "result/"])
@pytest.mark.parametrize("state", ["running", "succeeded", "failed"])
def test_head_is_as_get(job, alice, state, endpoint):
    """Contract 11: HEAD has the headers of GET and no body."""
    path = url(job(state), endpoint)
    get, head = (alice(method, path) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert {k: v for k, v in head.headers.items() if k != "Date"} == {
        k: v for k, v in get.headers.items() if k != "Date"
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
        if method != "HEAD":
            document = response.json()
            assert (document["status"], document["code"]) == (405, "method-not-allowed")
    options = alice("OPTIONS", url(made, endpoint))
    assert options.status_code == 200
    assert set(options.headers["Allow"].split(", ")) == ALLOWED[endpoint]


def test_a_body_that_is_not_read_does_no_harm(job, alice):
    """Contract 11: cancel, rerun and DELETE take none, whatever it says it is."""
    running, failed = job("running"), job("failed")
    for kind in ODD_TYPES:
        for body in (b"", b"<a/>", b'{"a": NaN', b"\xff\xfe\x00", b"--x\r\nContent-"):
            for method, path, status in (
                ("POST", url(running, "cancel/"), 202),
                ("POST", url(failed, "rerun/"), 202),
                ("DELETE", url(job("failed")), 204),
            ):
                response = alice(method, path, data=body, headers={"Content-Type": kind})
                assert response.status_code == status, (method, path, kind, body)


# --- Media types ----------


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
    method = "POST" if endpoint == "cancel/" else "GET"
    response = alice(method, url(job("running"), endpoint), headers={"Accept": "application/xml"})
    assert response.status_code == 406
    assert response.json()["code"] == "not-acceptable"
    assert response.headers["Content-Type"] == "application/problem+json"
    assert Job.objects.get().state == "running"


def test_format_parameter(job, alice):
    """Contract 11: ``?format=json`` as anywhere; an unknown one is 404."""
    running = job("running")
    assert alice.get(url(running, "?format=json")).status_code == 200
    for path in (url(running), url(UNKNOWN), "/api/jobs/"):
        unknown = alice.get(path, params={"format": "nonsense"})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown-format")
        assert unknown.json()["title"] == "There is no such format"


class Csv(renderers.BaseRenderer):
    media_type = "text/csv"
    format = "csv"

    def render(self, data, *args, **kwargs):
        raise AssertionError("Nobody asked for it.")


@pytest.fixture(
    params=[
        [renderers.BrowsableAPIRenderer],
        [Csv],
        [renderers.BrowsableAPIRenderer, renderers.JSONRenderer],
        [renderers.TemplateHTMLRenderer, renderers.StaticHTMLRenderer],
    ],
    ids=["pages", "csv", "pages first", "templates"],
)
def project(request, monkeypatch):
    """A project whose own views speak no JSON, or speak something else first."""
    monkeypatch.setattr(APIView, "renderer_classes", request.param)


def test_documents_are_json(job, alice, project):
    """Contract 9, 15: documents and problems, for every client that does not ask for something else."""
    running = job("running")
    for accept in ("application/json", "*/*", None):
        alice.session.headers["Accept"] = accept
        assert alice.get(url(running)).json()["status"] == "running"
        assert alice.get(url(UNKNOWN)).json()["status"] == 404
    assert alice.get(url(running, "result/")).json()["status"] == "running"
    assert alice.get("/api/jobs/").json()["results"][0]["status"] == "running"
    assert alice.post(url(running, "cancel/")).json()["status"] == "canceling"
    for method, path, status in [
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


def test_errors_before_the_negotiation_are_json_too(alice, project, base):
    """Contract 11, 15: 406, 401, and 404 for a format that does not exist."""
    for path in ("/api/jobs/", *(url(UNKNOWN, endpoint) for endpoint in ("", "events/"))):
        for response, status in (
            (alice.get(path, headers={"Accept": "application/xml"}), 406),
            (requests.get(base + path, headers={"Authorization": "Token nonsense"}, timeout=5), 401),
            (alice.get(path, params={"format": "nonsense"}), 404),
        ):
            assert (response.status_code, response.json()["status"]) == (status, status), path
            assert response.headers["Content-Type"] == "application/problem+json"


def test_a_browser_gets_no_500(job, alice, project):
    """Contract 11: a template of the project's belongs to its own views; the endpoints of jobs do not need it."""
    done = job("succeeded")
    accept = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    for path in ("/api/jobs/", url(done), url(done, "result/"), url(UNKNOWN)):
        assert alice.get(path, headers=accept).status_code in (200, 404)


def test_default_renderers_without_json(alice, settings):
    """Contract 15: also if the setting of REST framework names no JSON."""
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.StaticHTMLRenderer"]
    }
    assert alice.get("/api/jobs/").json()["results"] == []
    assert alice.get("/api/jobs/nothing/").json()["code"] == "not-found"


# --- Events without a server for streams ----------


@pytest.mark.parametrize("state", ["running", "succeeded"])
@pytest.mark.parametrize("accept", ["text/event-stream", "*/*"])
def test_events_need_a_server_for_streams(job, alice, state, accept):
    """Contract 14: 406 on WSGI."""
    response = alice.get(url(job(state), "events/"), headers={"Accept": accept})
    assert response.status_code == 406
    assert response.headers["Content-Type"] == "application/problem+json"


def test_events_of_an_expired_job(job, alice):
    """Contract 14: 410."""
    gone = url(job("failed", is_expired=True), "events/")
    assert alice.get(gone, headers={"Accept": "text/event-stream"}).status_code == 410


def test_the_monitor_as_events_needs_a_server_for_streams(job, alice):
    """Contract 14: M under ``Accept: text/event-stream`` likewise."""
    assert alice.get(url(job("running")), headers={"Accept": "text/event-stream"}).status_code == 406


def test_no_answer_is_kept_by_a_shared_cache(job, alice, bob, anybody):
    """Contract 11: a 204, a 404, a 405 or a 410 without a word is kept by some caches (RFC 9110, section 15.1)."""
    made, expired = job("succeeded"), job("succeeded", is_expired=True)
    answers = [
        *(alice(method, "/api/jobs/") for method in ("GET", "HEAD", "OPTIONS", "POST")),
        alice.get("/api/jobs/?status=never"),
        *(client.get(url(made, end)) for client in (bob, anybody) for end in ("", "result/", "events/")),
        *(alice("PUT", url(made, end)) for end in ("", "result/", "events/", "cancel/", "rerun/")),
        alice.get(url(UNKNOWN)),
        alice.get(url(made), headers={"Accept": "text/csv"}),
        alice.get(url(made, "events/")),
        alice.get(url(expired, "result/")),
        alice.post(url(made, "cancel/")),
        alice.delete(url(made), headers={"If-Match": '"old"'}),
        alice.delete(url(made)),
    ]
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 204, 400, 401, 404, 405, 406, 409, 410, 412}
    for answer in answers:
        assert answer.headers["Cache-Control"] == "private, no-cache", answer.status_code
        assert "Authorization" in answer.headers["Vary"]
