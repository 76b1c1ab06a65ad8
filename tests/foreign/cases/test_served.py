"""Both twins over real HTTP, on WSGI and on ASGI, with a worker that takes its messages from the broker."""

import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
import requests
import uvicorn
from celery.contrib.testing.worker import start_worker
from celery.worker import loops
from celery.worker import state as worker_state
from django.core.asgi import get_asgi_application
from django.core.servers.basehttp import ThreadedWSGIServer
from django.core.wsgi import get_wsgi_application
from django.test.testcases import QuietWSGIRequestHandler

from async_accept.models import Job
from tests.foreign.celery import app
from tests.workers import quick_loop

from . import world
from .test_twins import CASES
from .twins import HEADERS, HOST, Case, Outcome, credentials

SECONDS = 20
SERVED = (
    *("create", "create in bulk", "create invalid", "patch of an old version", "approve in conflict"),
    *("close with a redirect", "pay too little after writing", "invoice as a file", "packing as a stream"),
    *("upload", "upload raw", "report as CSV", "report as XLSX", "letter by default", "quote refused"),
    *("django bytes", "raise invalid fields", "by key", "by anybody", "creates for a tenant"),
)
CHOSEN = [case for case in CASES if case.name in SERVED]
assert len(CHOSEN) == len(SERVED)


def eventually(condition: Callable[[], Any]) -> Any:
    """Return the first true value of *condition*; fail when ``SECONDS`` are over."""
    deadline = time.monotonic() + SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, f"Not within {SECONDS} s: {condition}"
        time.sleep(0.02)
    return value


@pytest.fixture(scope="module")
def worker(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A worker of Celery's in a thread of this process, as Celery has it for tests."""
    app.conf.broker_transport_options = {"polling_interval": 0.02}
    app.control.purge()  # what the cases without a worker have left
    quick = patch.object(loops, "synloop", quick_loop)
    with django_db_blocker.unblock(), quick, start_worker(app, pool="solo", perform_ping_check=False):
        yield


@pytest.fixture(scope="module")
def wsgi(django_db_setup: None) -> Iterator[str]:
    """The address of the project on WSGI."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietWSGIRequestHandler)
    server.set_app(get_wsgi_application())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="module")
def asgi(django_db_setup: None) -> Iterator[str]:
    """The address of the project on ASGI."""
    config = uvicorn.Config(
        get_asgi_application(), port=0, lifespan="off", log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(autouse=True)
def _idle(_world: None, worker: None) -> Iterator[None]:
    """Before the world is made anew, everything that still runs ends."""
    yield
    eventually(lambda: not worker_state.active_requests and not worker_state.reserved_requests)


@pytest.fixture(params=["WSGI", "ASGI"])
def base(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param.lower()))


class Caller:
    """A client of the project, whatever server brings it."""

    def __init__(self, base: str, case: Case) -> None:
        self.base = base
        self.case = case
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update({"Host": HOST, **credentials(case)})

    def send(self, **headers: str) -> requests.Response:
        case = self.case
        sent: dict[str, Any] = {"headers": {**case.headers, **headers}}
        if case.form is None:
            sent["data"] = case.body if case.json is None else json.dumps(case.json).encode()
            sent["headers"]["Content-Type"] = case.content_type
        else:
            given = {key: value() if callable(value) else value for key, value in case.form.items()}
            sent["files"] = {
                key: (value.name, value, value.content_type)
                for key, value in given.items()
                if isinstance(value, io.BytesIO)
            }
            sent["data"] = {key: value for key, value in given.items() if key not in sent["files"]}
        return self.request(case.method, case.path, **sent)

    def request(self, method: str, url: str, **given: Any) -> requests.Response:
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        return self.session.request(method, self.base + path, timeout=30, allow_redirects=False, **given)

    def follow(self, accepted: requests.Response) -> requests.Response:
        """Get ``Location`` while the answer is 202."""

        def look() -> list[requests.Response]:
            answer = self.request("GET", accepted.headers["Location"], headers=dict(self.case.headers))
            return [answer] if answer.status_code != 202 else []

        return eventually(look)[0]


def outcome(response: requests.Response) -> Outcome:
    names = [name for name in HEADERS if name in response.headers and name != "Content-Encoding"]
    headers = {name: response.headers[name] for name in names}
    return Outcome(response.status_code, headers, response.content, world.rows())


@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_served(base: str, case: Case) -> None:
    expected = outcome(Caller(base, case).send(**{"X-Twin": "plain"}))
    world.make()
    caller = Caller(base, case)

    response = caller.send()
    assert (response.status_code != 202) == case.refused, response.content
    if not case.refused:
        response = caller.follow(response)

    assert outcome(response).differs(expected) == {}


WAIT = Case("waits", "/v1/work/write_and_answer/", json={})


def test_wait(base: str) -> None:
    """``Prefer: wait`` gets the answer at once, also under ATOMIC_REQUESTS, and as OPTIONS promises."""
    response = Caller(base, WAIT).send(Prefer="wait=5")

    assert response.status_code == 201
    assert response.headers["Preference-Applied"] == "wait=5"


def chunked(base: str, case: Case, body: list[bytes]) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=30)
    headers = {"Host": HOST, "Content-Type": "application/json", **credentials(case)}
    with suppress(BrokenPipeError, ConnectionResetError):  # who refuses does not wait for the rest
        connection.request("POST", case.path, iter(body), headers, encode_chunked=True)
    response = connection.getresponse()
    response.read()
    return response


CHUNKED = Case("chunked", "/v1/work/ask_data/")


def test_chunked_on_wsgi(wsgi: str) -> None:
    """Django's WSGI handler loses such a body: better none than an empty one."""
    response = chunked(wsgi, CHUNKED, [b'{"a": ', b"1}"])

    assert response.status == 411
    assert not Job.objects.exists()


def test_chunked_on_asgi(asgi: str) -> None:
    """REST framework reads nothing without a length: the body is kept whole, or refused, and never lost."""
    caller = Caller(asgi, CHUNKED)
    headers = {"Content-Type": "application/json"}
    response = caller.request("POST", CHUNKED.path, data=iter([b'{"a": ', b"1}"]), headers=headers)

    assert response.status_code in (202, 411)
    if response.status_code == 202:
        assert b'"told":{"a":1}' in caller.follow(response).content
    assert Job.objects.exists() == (response.status_code == 202)


def test_chunked_too_large_on_asgi(asgi: str) -> None:
    response = chunked(asgi, CHUNKED, [b'{"a": "', *[b"x" * 100_000] * 11, b'"}'])

    assert response.status in (411, 413)
    assert not Job.objects.exists()


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_events(asgi: str, coding: str) -> None:
    """The document that polls get, and nothing compresses it on the way."""
    caller = Caller(asgi, Case("", "/v1/whoami/token/", json={}))
    accepted = caller.send()
    caller.follow(accepted)
    url = accepted.headers["Operation-Location"]
    headers = {"Accept": "text/event-stream", "Accept-Encoding": coding}

    events = caller.request("GET", url + "events/", headers=headers)

    [line] = [line for line in events.text.splitlines() if line.startswith("data: ")]
    told = json.loads(line.removeprefix("data: "))
    assert told == caller.request("GET", url, headers={"Accept": "application/json"}).json()
    assert events.headers.get("Content-Encoding", "identity") == "identity"
