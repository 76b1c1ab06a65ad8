"""The contract as clients meet it: a live server, a real Celery worker beside it, and ``requests``.

Nothing is mocked between the client and the database. The worker is Celery's own, in a thread of this process, and
the broker is Celery's in-memory transport, so no server is needed; ``DATABASE_URL`` may name one.
"""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_django
import requests
from celery.worker import state as worker_state
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.asgi import get_asgi_application
from django.core.cache import cache
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from rest_framework.authtoken.models import Token

from async_accept.http.not_modified import not_modified
from async_accept.jobs import publish, watcher
from async_accept.models import Job
from async_accept.testing import make_job
from example_project.shop.worker import WorkerThread
from tests.celery import app
from tests.testapp import contract_tasks
from tests.workers import quick_loop

#: How long a condition may take to come true before a test fails.
SECONDS = 20
ACTIVE = ("accepted", "running", "canceling")
ENDED = ("succeeded", "failed", "canceled")
#: The id of no job.
UNKNOWN = "01890000-0000-7000-8000-000000000000"


def eventually(condition: Callable[[], Any], what: str = "", seconds: float = SECONDS) -> Any:
    """Return the first true value of *condition*; fail after *seconds*."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {seconds} s: {what or condition}")
        time.sleep(0.02)
    return value


class Client:
    """A caller of the live server."""

    def __init__(self, base: str, token: str | None = None) -> None:
        self.base = base
        self.session = requests.Session()
        self.session.trust_env = False
        if token:
            self.session.headers["Authorization"] = f"Token {token}"

    def again(self, base: str = "") -> "Client":
        """Return the same caller with a connection of its own, of another server if *base* names one."""
        client = Client(base or self.base)
        client.session.headers.update(self.session.headers)
        return client

    def __call__(self, method: str, url: str, json: Any = None, **kwargs: Any) -> requests.Response:
        url = url if url.startswith("http") else f"{self.base}{url}"
        return self.session.request(method, url, json=json, timeout=30, allow_redirects=False, **kwargs)

    def get(self, url: str, **kwargs: Any) -> requests.Response:
        return self("GET", url, **kwargs)

    def post(self, url: str, json: Any = None, **kwargs: Any) -> requests.Response:
        return self("POST", url, json, **kwargs)

    def delete(self, url: str, **kwargs: Any) -> requests.Response:
        return self("DELETE", url, **kwargs)

    def follow(self, response: requests.Response) -> requests.Response:
        """Do what the contract asks of the smallest client, without its pauses."""
        url = response.headers["Location"]
        return eventually(
            lambda: (answer := self.get(url)).status_code != 202 and Answer(answer), "an answer"
        ).response

    def until(self, response: requests.Response, *states: str) -> dict[str, Any]:
        """Poll the status monitor until the job is in one of *states*; return the document."""
        url = response.headers["Operation-Location"]
        return eventually(
            lambda: (document := self.get(url).json())["status"] in states and document, f"{states}"
        )


class Answer:
    """A response that is true whatever its status (requests calls a 4xx false)."""

    def __init__(self, response: requests.Response) -> None:
        self.response = response


@pytest.fixture(scope="session")
def polling() -> None:
    """Let the in-memory broker look often; its own pace is one second."""
    if app.conf.broker_url is None or str(app.conf.broker_url).startswith("memory"):
        app.conf.broker_transport_options = {"polling_interval": 0.02}


@pytest.fixture(scope="module")
def worker_thread(
    polling: None, django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker
) -> Iterator[WorkerThread]:
    """A worker for the tests of one file: those of another may have one of their own in this process."""
    # The tests tick a relay where they want one. That of the worker would ask the database between them, too.
    with (
        override_settings(ASYNC_ACCEPT={"RELAY_IN_WORKER": False}),
        django_db_blocker.unblock(),  # it starts with the system checks, which may look at the database
    ):
        thread = WorkerThread(app, concurrency=4)
    thread.controller.on_consumer_ready = lambda consumer: None
    thread.controller.consumer.loop = quick_loop
    thread.start()
    yield thread
    thread.stop(1)
    thread.join(SECONDS)
    assert not thread.is_alive()
    worker_state.should_stop = None


@pytest.fixture
def idle(live_server: Any) -> Iterator[None]:
    """Before the tables are emptied, everything that still runs ends."""
    contract_tasks.close_all()
    yield
    contract_tasks.everywhere.set()
    eventually(
        lambda: not worker_state.active_requests and not worker_state.reserved_requests, "an idle worker"
    )


@pytest.fixture
def worker(worker_thread: WorkerThread, idle: None) -> WorkerThread:
    return worker_thread


@pytest.fixture(autouse=True)
def quick(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.ASYNC_ACCEPT = {"HEARTBEAT": timedelta(seconds=0.1), "BROKER_TIMEOUT": 2.0}
    monkeypatch.setattr(watcher, "INTERVAL_SECONDS", 0.02)
    cache.clear()
    not_modified.sent.clear()
    yield
    cache.clear()


@pytest.fixture
def configure(settings: Any, quick: None) -> Callable[..., None]:
    """Change settings of the package for the rest of the test."""

    def change(**options: Any) -> None:
        settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | options

    return change


@pytest.fixture(autouse=True)
def unrung(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the fixture ``worker`` no worker hears of a job: the broker takes its message and loses it."""
    if "worker" not in request.fixturenames:
        monkeypatch.setattr(publish, "publish", lambda jobs, *via: [pk for pk, *_ in jobs])


@pytest.fixture
def base(live_server: Any) -> str:
    return str(live_server.url)


def _user(name: str) -> str:
    """Make a user; return a token."""
    return str(Token.objects.create(user=get_user_model().objects.create(username=name)).key)


def make_staff(name: str, *permissions: str) -> Any:
    """Make a user a member of the staff with these permissions and no other."""
    user = get_user_model().objects.get(username=name)
    user.is_staff = True
    user.save()
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def alice(base: str) -> Client:
    return Client(base, _user("alice"))


@pytest.fixture
def bob(base: str) -> Client:
    return Client(base, _user("bob"))


@pytest.fixture
def anybody(base: str) -> Client:
    return Client(base)


@pytest.fixture
def job(alice: Client) -> Callable[..., Job]:
    """Make a job of alice's in any state."""
    owner = get_user_model().objects.get(username="alice")

    def make(state: str, **columns: Any) -> Job:
        columns = {"operation": "sums.add", "input": {"x": 3, "y": 4}, "result": {"sum": 7}} | columns
        if columns.pop("is_expired", False):
            columns["expires_at"] = timezone.now() - timedelta(seconds=5)
        return make_job("tests.testapp.tasks.add", state=state, owner=owner, **columns)

    return make


def url(job: Any, endpoint: str = "") -> str:
    """Return the path of a job, or of what may be an id."""
    return f"/api/jobs/{getattr(job, 'pk', job)}/{endpoint}"


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[Any]:
    """An ASGI server, for streams; Django's live server is of the other kind."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs uvicorn (extra: demo)")
    config = uvicorn.Config(get_asgi_application(), port=0, lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    yield server
    server.should_exit = True
    thread.join(SECONDS)


@pytest.fixture
def caller(server: Any, alice: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Alice, as a client of the ASGI server."""
    # Each request has a thread of its own there, whose connection nobody would use again, nor close.
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    caller = alice.again(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    yield caller
    caller.session.close()
    eventually(lambda: not server.server_state.tasks, "the end of all requests")


@pytest.fixture
def soon() -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Do something in another thread as soon as a request waits for a job."""
    threads = []

    def later(do: Callable[[], Any]) -> None:
        def wait_and_do() -> None:
            eventually(lambda: watcher.watcher.waiting, "a waiting request")
            do()

        threads.append(threading.Thread(target=wait_and_do))
        threads[-1].start()

    yield later
    for thread in threads:
        thread.join()


def together(number: int, do: Callable[[int], Any], threads: int = 8) -> list[Any]:
    """Call *do* so many times from several threads that begin at one moment; return what they got."""
    results: list[Any] = [None] * number
    barrier = threading.Barrier(threads)

    def work(first: int) -> None:
        barrier.wait()
        for index in range(first, number, threads):
            try:
                results[index] = do(index)
            except Exception as error:
                results[index] = error

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    return results
