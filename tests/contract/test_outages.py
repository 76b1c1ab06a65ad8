"""Contract 7: what happens while the database or the broker is away."""

import json
import logging
import re
import time
from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.db import InternalError, OperationalError, connections
from django.db.backends.utils import CursorWrapper
from django.db.transaction import Atomic
from django.test import Client as DjangoClient
from rest_framework.test import APIClient

from async_accept.jobs import keys
from async_accept.jobs.broker import broker
from async_accept.jobs.watcher import watcher
from async_accept.models import Job
from tests.contract.cases import CASES, SUM, every_view
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/policies/always/class/"


@pytest.fixture
def no_database(monkeypatch):
    """Let every statement fail, as it does where the server is gone."""

    def fail(*args, **kwargs):
        raise OperationalError("server closed the connection unexpectedly")

    def off():
        monkeypatch.setattr(CursorWrapper, "execute", fail)

    yield off
    monkeypatch.undo()


@pytest.fixture
def no_inserts(monkeypatch):
    """Let everything fail that writes a job."""
    execute = CursorWrapper.execute

    def fail(self, sql, params=None):
        if sql.lstrip().upper().startswith("INSERT") and "async_accept_job" in sql:
            raise OperationalError("the connection was lost")
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", fail)


def _is_503(response):
    assert response.status_code == 503
    assert re.fullmatch(r"[1-9]\d*", response.headers["Retry-After"])
    assert "server closed" not in response.text
    assert "lost" not in response.text


@every_view
def test_database_down_at_accept(case, alice, no_inserts):
    """Contract 7: 503 with Retry-After, in every kind of view."""
    for headers in ({}, {"Idempotency-Key": "k"}):
        response = alice(case.method, case.url(), case.data, headers=headers)
        _is_503(response)
        assert "Prefer" in response.headers["Vary"]
    assert Job.objects.count() == 0


@every_view
def test_database_down_before_the_handler(case, alice, no_database):
    """Contract 7: also while the caller is authenticated; a function view needs ``@accepts`` above ``@api_view``."""
    url = case.url()
    no_database()
    response = alice(case.method, url, case.data)
    if not case.is_wrapped:
        assert response.status_code >= 500  # REST framework's own view, before anything of ours is reached
    else:
        _is_503(response)


@pytest.mark.parametrize(
    ("method", "endpoint"),
    [
        *((method, "") for method in ("GET", "HEAD", "DELETE")),
        *(("GET", "result/"), ("POST", "cancel/"), ("POST", "rerun/"), ("GET", "events/")),
    ],
)
def test_database_down_at_the_endpoints_of_jobs(alice, no_database, method, endpoint):
    """Contract 7: 503 with Retry-After at every endpoint, and in the list."""
    monitor = alice.post(URL, SUM).headers["Operation-Location"]
    no_database()
    for response in (alice(method, monitor + endpoint), alice(method, "/api/jobs/")):
        if method in ("GET", "HEAD") or response.url.startswith(monitor):
            _is_503(response)
            if method != "HEAD":
                assert response.headers["Content-Type"] == "application/problem+json"
                assert response.json()["code"] == "unavailable"


@pytest.fixture(params=["token", "session"])
def browser(request, alice):
    """The headers of a browser; the database knows who it is."""
    accept = {"Accept": "text/html"}
    if request.param == "token":
        return accept | {"Authorization": alice.session.headers["Authorization"]}
    client = DjangoClient()
    client.force_login(get_user_model().objects.get(username="alice"))
    return accept | {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


@pytest.mark.parametrize("endpoint", ["", "result/", None])
def test_database_down_and_a_browser_asks(alice, browser, no_database, endpoint):
    """Contract 7, 11: the page of the error does not ask the database who reads it."""
    monitor = alice.post(URL, SUM).headers["Operation-Location"]
    no_database()
    path = "/api/jobs/" if endpoint is None else monitor + endpoint
    response = alice.again().get(path, headers=browser)
    _is_503(response)
    assert response.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("case", [CASES[name] for name in ("create", "class", "function-whole")])
def test_database_down_and_a_browser_submits(case, alice, browser, no_database):
    """Contract 7: nor does the browsable page of an accepting view, neither for its reader nor for its forms."""
    url = case.url()
    no_database()
    response = alice.again()(case.method, url, case.data, headers=browser)
    _is_503(response)
    assert response.headers["Content-Type"].startswith("text/html")


def test_the_log_tells_why_without_passwords(alice, monkeypatch, caplog):
    """Contract 7, 15: the client gets a reference, by which the log tells the driver's words, but no password."""
    monitor = alice.post(URL, SUM).headers["Operation-Location"]

    def fail(*args, **kwargs):
        raise OperationalError("postgres://shop:hunter2@db/shop does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", fail)
        response = alice.get(monitor)
    assert response.status_code == 503
    assert "does not answer" not in response.text
    (record,) = [record for record in caplog.records if record.name == "async_accept.exceptions"]
    told = logging.Formatter().format(record)
    assert response.json()["reference"] in told
    assert "OperationalError: postgres://" in told
    assert "does not answer" in told
    assert "hunter2" not in told


def test_a_database_that_only_reads_is_away_too(alice, monkeypatch):
    """Contract 7: after a failover the connection may lead to a server that takes no changes."""

    class Driver(Exception):
        sqlstate = "25006"

    def fail(*args, **kwargs):
        raise InternalError("cannot execute UPDATE in a read-only transaction") from Driver()

    monitor = alice.post(URL, SUM).headers["Operation-Location"]
    with monkeypatch.context() as patch:
        patch.setattr(Job, "cancel", fail)
        _is_503(alice.post(f"{monitor}cancel/"))


@pytest.mark.parametrize(
    ("code", "at_accept", "in_the_view"),
    [
        ("57P01", 503, 503),  # shut down
        ("40P01", 503, 503),  # a deadlock; it was tried again a few times
        ("55P03", 503, 503),  # a lock that another holds
        ("57014", 503, 500),  # took too long: the app's own INSERT is short, a query of the view's may not be
        ("54000", 500, 500),  # text that no index takes
    ],
)
def test_what_passes_is_503_and_bad_data_is_not(alice, caller, monkeypatch, code, at_accept, in_the_view):
    """Contract 7: a client repeats a 503; what is wrong with the data would fail for ever."""
    driver = type("Driver", (Exception,), {"sqlstate": code})

    def fail(*args, **kwargs):
        raise OperationalError("failed") from driver()

    with monkeypatch.context() as patch:
        patch.setattr("async_accept.jobs.accept.insert", fail)
        assert caller.post(URL, SUM, format="json").status_code == at_accept
    key = {"Idempotency-Key": "seen"}
    assert caller.post(URL, SUM, format="json", headers=key).status_code == 202
    with monkeypatch.context() as patch:
        patch.setattr(keys, "_by_key", SimpleNamespace(find=fail))
        assert caller.post(URL, SUM, format="json", headers=key).status_code == at_accept
    with monkeypatch.context() as patch:
        patch.setattr(Note, "save", fail)
        at_once = caller.post("/api/policies/prefer/notes/", {"slug": "a", "title": "A"}, format="json")
        assert at_once.status_code == in_the_view
    assert Job.objects.count() == 1  # that of the key


def test_a_result_that_cannot_be_read_now_is_503(caller, monkeypatch):
    """Contract 4, 7: the client has waited for it; a repeat with the same key gets it."""

    def fail(job):
        raise OperationalError("took too long") from type("Driver", (Exception,), {"sqlstate": "57014"})()

    headers = {"Idempotency-Key": "waits", "Prefer": "wait=5"}
    with monkeypatch.context() as patch:
        patch.setattr(watcher, "wait", lambda *args, **kwargs: True)
        patch.setattr("async_accept.http.responses._read_again", fail)
        response = caller.post(URL, SUM, format="json", headers=headers)
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert caller.post(URL, SUM, format="json", headers=headers | {"Prefer": "wait=0"}).status_code == 202
    assert Job.objects.count() == 1


@pytest.fixture
def middleware(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "async_accept.middleware.UnavailableMiddleware"]


@pytest.fixture
def caller(alice):
    """Calls views through middleware of the test's own; a live server has loaded its own already."""
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=alice.session.headers["Authorization"])
    return client


def _is_problem_503(response):
    assert response.status_code == 503
    assert response["Content-Type"] == "application/problem+json"
    assert int(response["Retry-After"]) >= 1
    assert "Prefer" in response["Vary"]
    document = response.json()
    assert (document["code"], document["status"]) == ("unavailable", 503)
    assert document["title"] == "The service is not available at the moment"
    assert "server closed" not in response.content.decode()


def _send(caller, case, url):
    return caller.generic(case.method, url, json.dumps(case.data or {}), content_type="application/json")


@every_view
def test_the_middleware_answers_for_the_transaction_around_a_view(case, caller, middleware, monkeypatch):
    """Contract 7: ATOMIC_REQUESTS begins one before the view is called."""
    url = case.url()
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    def fail(*args):
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(Atomic, "__enter__", fail)
    _is_problem_503(_send(caller, case, url))


@every_view
def test_the_middleware_answers_for_what_stands_above_a_view(case, caller, middleware, no_database):
    """Contract 7: REST framework's own view authenticates before ``@accepts`` is reached; others answer themselves."""
    url = case.url()
    no_database()
    response = _send(caller, case, url)
    assert response.status_code == 503
    if not case.is_wrapped:
        _is_problem_503(response)


def test_the_middleware_answers_for_no_other_view(caller, middleware, no_database):
    """Contract 7: what is not ours fails as it did."""
    no_database()
    assert caller.get("/api/plain-notes/").status_code == 500


def test_the_middleware_knows_an_outage_from_a_bug(caller, middleware, monkeypatch):
    """Contract 7: an exception of a view stays what it is."""

    def fail(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr("async_accept.jobs.accept.insert", fail)
    assert caller.post(URL, SUM).status_code == 500


def test_database_down_where_requests_are_atomic(alice, no_database, monkeypatch):
    """Contract 7: ATOMIC_REQUESTS begins a transaction outside the view; the job endpoints need none."""
    monitor = alice.post(URL, SUM).headers["Operation-Location"]
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    no_database()
    _is_503(alice.get(monitor))


def test_an_atomic_request_takes_its_job_back(alice, monkeypatch):
    """Contract 2: under ATOMIC_REQUESTS a job lives and dies with the request's transaction."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert alice.post("/api/policies/always/class/", SUM).status_code == 202
    again = alice.post(
        "/api/policies/always/class/", SUM, headers={"Idempotency-Key": "k", "Prefer": "wait=1"}
    )
    assert again.status_code == 202
    assert again.headers["Preference-Applied"] == "wait=1"  # it waits after its commit
    repeat = alice.post("/api/policies/always/class/", SUM, headers={"Idempotency-Key": "k"})
    assert repeat.headers["Location"] == again.headers["Location"]
    assert alice.get(again.headers["Location"]).status_code == 202
    assert Job.objects.count() == 2


# --- The broker ----------


@pytest.fixture
def no_broker(monkeypatch):
    """Let the broker refuse every connection; it is asked as in production."""
    monkeypatch.undo()  # of the fixture that loses messages

    def refuse(*args, **kwargs):
        raise ConnectionRefusedError("nobody listens")

    broker.close()
    monkeypatch.setattr(type(broker), "_connect", refuse)
    yield
    broker._reset()


@every_view
def test_broker_down_is_still_202(case, alice, no_broker):
    """Contract 7: the job waits in its row for the relay."""
    began = time.monotonic()
    response = alice(case.method, case.url(), case.data)
    assert response.status_code == 202
    assert time.monotonic() - began < 3
    assert Job.objects.get().state == "accepted"


@every_view
def test_broker_down_is_503_where_the_view_prefers_it(case, alice, no_broker):
    """Contract 7: 503 with Retry-After, and nothing is left behind."""
    for _ in range(2):
        _is_503(alice(case.method, case.url("insisting"), case.data, headers={"Idempotency-Key": "k"}))
    assert not Job.objects.exists()
    assert not Note.objects.filter(slug="new").exists()
