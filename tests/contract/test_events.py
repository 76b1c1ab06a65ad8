"""Contract 14: server-sent events, from uvicorn in a thread."""

import asyncio
import json
import threading
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.utils import timezone
from rest_framework.authtoken.models import Token
from rest_framework.permissions import BasePermission

from async_accept.http import streaming
from async_accept.http.seats import seats
from async_accept.jobs import watcher as watching
from async_accept.jobs.watcher import watcher
from async_accept.models import Job
from async_accept.problems import problem
from tests.contract.cases import SUM
from tests.contract.conftest import Client, eventually, make_staff

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def monitor(caller) -> str:
    return str(caller.post("/api/policies/always/class/", SUM).headers["Operation-Location"])


def _connections() -> int:
    """Return how many connections the database counts; 0 where it does not."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


class Stream:
    """An event source that keeps what it was sent."""

    def __init__(self, caller: Client, url: str, **headers: str) -> None:
        headers = {"Accept": "text/event-stream"} | headers
        self.response = caller.session.get(url, headers=headers, stream=True, timeout=20)
        self.lines = self.response.iter_lines(chunk_size=1, decode_unicode=True)

    def block(self) -> list[str]:
        """Return the next block of lines; empty at the end."""
        block: list[str] = []
        for line in self.lines:
            if line:
                block.append(line)
            elif block:
                return block
        return block

    def event(self) -> tuple[str, dict[str, Any]]:
        """Return id and data of the next event."""
        while block := self.block():
            fields = dict(line.split(": ", 1) for line in block if not line.startswith(":"))
            if "data" in fields:
                return fields["id"], json.loads(fields["data"])
        raise AssertionError("The stream has ended.")


@pytest.mark.parametrize("endpoint", ["events/", ""])
def test_events_tell_every_change_until_the_end(caller, monitor, endpoint):
    """Contract 14: the document at once, then every change, then the end; M under text/event-stream likewise."""
    stream = Stream(caller, monitor + endpoint)
    assert stream.response.headers["Content-Type"].startswith("text/event-stream")
    assert stream.response.headers["Cache-Control"] == "no-store"
    assert stream.block() == ["retry: 2000"]
    ids, seen = [], []
    for change in (
        lambda: Job.objects.get().claim("w", 1),
        lambda: Job.objects.update(progress={"current": 1, "message": "half"}, updated_at=timezone.now()),
        lambda: Job.objects.get().fail(problem("failed")),
        lambda: None,
    ):
        name, document = stream.event()
        ids.append(name)
        seen.append((document["status"], document["message"]))
        change()
    assert seen == [("accepted", ""), ("running", ""), ("running", "half"), ("failed", "half")]
    assert len(set(ids)) == 4
    assert stream.block() == []
    assert document == caller.get(monitor).json()


def test_last_event_id_resumes(caller, monitor):
    """Contract 14: what was seen is not told again."""
    first, _ = Stream(caller, monitor + "events/").event()
    stream = Stream(caller, monitor + "events/", **{"Last-Event-ID": first})
    assert stream.block() == ["retry: 2000"]
    Job.objects.get().claim("w", 1)
    name, document = stream.event()
    assert (name != first, document["status"]) == (True, "running")
    for garbage in ("", "nonsense", "x" * 10_000, "\xff"):
        _, document = Stream(caller, monitor + "events/", **{"Last-Event-ID": garbage}).event()
        assert document["status"] == "running"


def test_a_new_event_source_says_in_the_url_what_it_has_seen(caller, monitor):
    """Contract 14: it cannot send Last-Event-ID; where one that connects again does, the header is newer."""
    first, _ = Stream(caller, monitor + "events/").event()
    stream = Stream(caller, f"{monitor}events/?last_event_id={first}")
    assert stream.block() == ["retry: 2000"]
    Job.objects.get().claim("w", 1)
    second, document = stream.event()
    assert document["status"] == "running"
    again = Stream(caller, f"{monitor}events/?last_event_id={first}", **{"Last-Event-ID": second})
    assert again.block() == ["retry: 2000"]
    Job.objects.get().fail(problem("failed"))
    last, document = again.event()
    assert document["status"] == "failed"
    assert caller.get(f"{monitor}events/?last_event_id={last}").status_code == 204


@pytest.mark.parametrize("state", ["succeeded", "failed", "canceled"])
def test_after_the_end(caller, monitor, state):
    """Contract 14: the last event, then the end; 204 on reconnection; 410 once it has expired."""
    job = Job.objects.get()
    if state == "canceled":
        job.cancel()
    else:
        job.claim("w", 1)
        job.succeed() if state == "succeeded" else job.fail(problem("failed"))
    stream = Stream(caller, monitor + "events/")
    last, document = stream.event()
    assert document["status"] == state
    assert stream.block() == []
    again = caller.get(monitor + "events/", headers={"Last-Event-ID": last, "Accept": "text/event-stream"})
    assert (again.status_code, again.content) == (204, b"")
    Job.objects.update(expires_at=timezone.now())
    expired = caller.get(monitor + "events/", headers={"Accept": "text/event-stream"})
    assert expired.status_code == 410
    assert expired.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("endpoint", ["events/", ""])
@pytest.mark.parametrize("state", ["running", "failed"])
def test_head_opens_no_stream(caller, monitor, monkeypatch, endpoint, state):
    """Contract 11, 14: the headers of GET and no body; nothing waits, and no connection is held."""
    job = Job.objects.get()
    job.claim("w", 1)
    if state == "failed":
        job.fail(problem("failed"))
    stream = Stream(caller, monitor + endpoint)
    stream.event()
    monkeypatch.setattr(streaming, "_events", lambda *args: pytest.fail("A stream was opened."))
    headers = {**caller.session.headers, "Accept": "text/event-stream"}
    head = requests.head(monitor + endpoint, headers=headers, timeout=5)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Type", "Cache-Control", "Vary", "X-Accel-Buffering"):
        assert head.headers[name] == stream.response.headers[name]
    assert "Content-Length" not in head.headers
    stream.response.close()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/event-stream;q=0.1, application/json", "application/json"),
        ("application/json;q=0.5, text/event-stream", "text/event-stream"),
        ("application/json;q=0, text/event-stream;q=0.2", "text/event-stream"),
    ],
)
def test_the_weights_decide_whether_the_monitor_streams(caller, monitor, accept, kind):
    """Contract 14: the document where the client prefers it, and the stream where it prefers that."""
    with caller.session.get(monitor, headers={"Accept": accept}, stream=True, timeout=5) as response:
        assert response.headers["Content-Type"].split(";")[0] == kind


@pytest.mark.parametrize(
    "accept", ["application/json", "application/json, text/event-stream;q=0", "text/html"]
)
def test_who_takes_no_events_gets_none(caller, monitor, accept):
    """Contract 14: 406 as a problem; an unknown job is 404 all the same."""
    response = caller.get(monitor + "events/", headers={"Accept": accept})
    assert response.status_code == 406
    assert response.headers["Content-Type"] == "application/problem+json"


def test_a_client_that_takes_anything_gets_events(caller, monitor):
    """Contract 14: what is admitted at all is enough for an address that has nothing else."""
    stream = Stream(caller, monitor + "events/", Accept="application/json, */*;q=0.1")
    assert stream.event()[1]["status"] == "accepted"
    stream.response.close()


def test_others_get_404(caller, monitor, bob):
    """Contract 14, 18: another's job has no events."""
    stranger = bob.again(caller.base)
    jobs = f"{caller.base}/api/jobs"
    unknown = f"{jobs}/01890000-0000-7000-8000-000000000000/events/"
    for url in (f"{monitor}events/", monitor, unknown, f"{jobs}/x/events/"):
        response = stranger.get(url, headers={"Accept": "text/event-stream"})
        assert response.status_code == 404
        assert response.json()["code"] == "not-found"


def test_silence_is_filled(caller, monitor, monkeypatch):
    """Contract 14: heartbeats as comments."""
    monkeypatch.setattr(streaming, "HEARTBEAT_SECONDS", 0.05)
    stream = Stream(caller, monitor + "events/")
    stream.event()
    assert stream.block()[0].startswith(":")
    assert stream.block()[0].startswith(":")


@pytest.mark.parametrize("now", [0.0, 7.0, 1234.25, 1234.999])
def test_heartbeats_of_many_streams_come_together(now):
    """Contract 14: at most 15 seconds of silence, and one wake-up a second for all of them."""
    wait = streaming._until_heartbeat(now)
    assert 14 < wait <= 15
    assert (now + wait) % 1 == pytest.approx(0)


# --- The longest life ----------


@pytest.fixture
def short(monkeypatch):
    """A stream ends as soon as it would wait."""
    monkeypatch.setattr(streaming, "LIFE_SECONDS", 0)


def test_a_stream_ends_after_some_minutes(caller, monitor, short):
    """Contract 14: with everything told, and it leaves nothing behind; 204 is for the end of the job alone."""
    eventually(lambda: not _seats_taken(), "no stream of another test")
    stream = Stream(caller, monitor + "events/")
    last, document = stream.event()
    assert document["status"] == "accepted"
    assert stream.block() == []
    eventually(lambda: not _seats_taken() and not watcher.waiting, "no stream")
    again = Stream(caller, monitor + "events/", **{"Last-Event-ID": last})
    assert again.response.status_code == 200
    assert (again.block(), again.block()) == (["retry: 2000"], [])


def test_an_event_source_that_comes_back_misses_nothing(caller, monitor, short):
    """Contract 14: what happened while it was away is told, the end as well, and then 204."""
    last, seen = "", []
    for change in (
        lambda: Job.objects.get().claim("w", 1),
        lambda: Job.objects.update(progress={"current": 1, "message": "half"}, updated_at=timezone.now()),
        lambda: Job.objects.get().fail(problem("failed")),
        lambda: None,
    ):
        stream = Stream(caller, monitor + "events/", **({"Last-Event-ID": last} if last else {}))
        last, document = stream.event()
        seen.append((document["status"], document["message"]))
        assert stream.block() == []
        change()
    assert seen == [("accepted", ""), ("running", ""), ("running", "half"), ("failed", "half")]
    headers = {"Last-Event-ID": last, "Accept": "text/event-stream"}
    assert caller.get(monitor + "events/", headers=headers).status_code == 204


def test_who_comes_back_must_still_have_the_token(caller, monitor, short):
    """Contract 0, 14: a stream does not outlive a log-out by more than its life."""
    stream = Stream(caller, monitor + "events/")
    last, _ = stream.event()
    Token.objects.all().delete()
    assert stream.block() == []
    headers = {"Last-Event-ID": last, "Accept": "text/event-stream"}
    assert caller.get(monitor + "events/", headers=headers).status_code == 401


def test_a_stream_that_is_told_much_ends_as_well(monkeypatch):
    """Contract 14: after its time, and not before; it does not wait for silence."""
    told = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: now + 100 * len(told))
        view = SimpleNamespace(request=SimpleNamespace(user=None, META={}, query_params={}))
        view.owners_see_theirs = True
        async for event in streaming._told(_changed(), view):
            told.append(event)

    @contextmanager
    def follow(job, reader):
        change = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(change.set_result, _changed())
        yield change

    moments = (timezone.now() + timedelta(seconds=number) for number in count())
    monkeypatch.setattr(streaming, "_life_seconds", lambda: 550)
    monkeypatch.setattr(streaming.watcher, "follow", follow)
    monkeypatch.setattr(streaming, "_event", lambda job, *_: streaming.event_id(job))
    monkeypatch.setattr(streaming, "spoken", lambda request: None)

    def _changed() -> Job:
        return Job(state="running", updated_at=next(moments))

    asyncio.run(run())
    assert len(told) == 1 + 6  # the pause, then an event each hundred seconds


def test_streams_that_were_opened_together_end_apart():
    """Contract 14: after eight to ten minutes."""
    lives = {streaming._life_seconds() for _ in range(100)}
    assert len(lives) > 90
    assert min(lives) > 8 * 60
    assert max(lives) <= 10 * 60


# --- Those who leave ----------


def test_a_deleted_job_ends_its_stream(caller, monitor):
    """Contract 14: what is gone is not waited for."""
    stream = Stream(caller, monitor + "events/")
    stream.event()
    assert caller.delete(monitor).status_code == 202
    assert stream.block() == []


def test_a_client_that_leaves_is_forgotten(caller, monitor):
    """Contract 14: a waiting client costs nothing once it has gone."""
    stream = Stream(caller, monitor + "events/")
    stream.event()
    eventually(lambda: watcher.waiting)
    stream.response.close()
    caller.session.close()
    eventually(lambda: not watcher.waiting, "nobody waits")


def test_a_hundred_clients_cost_one_query_per_look(caller, monitor, monkeypatch):
    """Contract 14: one watcher asks for all, and they open their streams at once."""
    costs: list[int] = []  # the statements of each look for a hundred clients
    statements: list[str] = []
    look, execute = type(watcher).look, CursorWrapper.execute

    def counted_look(self):
        waiting, before = len(self.waiting), len(statements)
        look(self)
        if waiting == 100:
            costs.append(len(statements) - before)

    def counted_execute(self, sql, params=None):
        if threading.current_thread().name == "async_accept watcher":
            statements.append(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(type(watcher), "look", counted_look)
    monkeypatch.setattr(CursorWrapper, "execute", counted_execute)
    parts = urlsplit(monitor)
    head = "\r\n".join(
        (
            f"GET {parts.path}events/ HTTP/1.1",
            f"Host: {parts.netloc}",
            "Accept: text/event-stream",
            f"Authorization: {caller.session.headers['Authorization']}",
            "Connection: close\r\n\r\n",
        )
    ).encode()

    async def listen() -> bytes:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(head)
        begun = await asyncio.wait_for(reader.readuntil(b"data: "), 60)
        try:
            return begun + await asyncio.wait_for(reader.read(), 60)
        finally:
            writer.close()

    async def listen_all() -> list[bytes]:
        def end() -> None:
            eventually(lambda: len(costs) >= 5, "a hundred waiting clients", 60)
            held.append(_connections())
            Job.objects.get().cancel()
            connection.close()  # of this thread

        return (await asyncio.gather(*(listen() for _ in range(100)), asyncio.to_thread(end)))[:100]

    held: list[int] = []
    answers = asyncio.run(listen_all())
    assert all(b'"status":"canceled"' in answer for answer in answers)
    assert costs[1:5] == [1, 1, 1, 1]  # the first look for all of them reads their job as well
    assert held[0] <= 20  # a waiting client holds none


def test_streams_leave_room_for_long_polls(caller, monitor, configure):
    """Contract 14: streams cost no thread, and do not count against those who wait in one."""
    configure(MAX_WAITERS=1, MAX_WAIT_SECONDS=1)
    streams = [Stream(caller, monitor + "events/") for _ in range(3)]
    for stream in streams:
        stream.event()
    response = requests.get(monitor, headers={**caller.session.headers, "Prefer": "wait=1"}, timeout=20)
    assert response.headers["Preference-Applied"] == "wait=1"
    for stream in streams:
        stream.response.close()


# --- Caps, and who may not listen any more ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cap", "status", "code"),
    [("MAX_STREAMS_PER_CALLER", 429, "throttled"), ("MAX_STREAMS", 503, "unavailable")],
)
def test_streams_have_caps(caller, monitor, configure, cap, status, code):
    """Contract 14, 15, 19: a problem with Retry-After; polls go on, and a stream that ends makes room."""
    eventually(lambda: not _seats_taken(), "no stream of another test")
    configure(**{cap: 2})
    streams = [Stream(caller.again(), monitor + "events/") for _ in range(2)]
    for stream in streams:
        stream.event()
    headers = {**caller.session.headers, "Accept": "text/event-stream"}
    refused = requests.get(monitor + "events/", headers=headers, timeout=5)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert int(refused.headers["Retry-After"]) >= 1
    assert caller.get(monitor).status_code == 200
    streams.pop().response.close()
    eventually(lambda: _seats_taken() == 1, "a seat")
    again = Stream(caller, monitor + "events/")
    assert again.event()[1]["status"] == "accepted"
    Job.objects.get().cancel()
    eventually(lambda: not _seats_taken(), "no seat is taken after the end")


def _seats_taken() -> int:
    return seats.total - len(seats.left)


@pytest.mark.parametrize("who", ["owner", "staff", "owner, by a permission class"])
def test_who_may_not_see_the_job_any_more_hears_no_more(caller, monitor, bob, configure, monkeypatch, who):
    """Contract 14: an account that is deactivated, a permission that is taken away."""
    monkeypatch.setattr(watching, "ACCESS_SECONDS", 0.02)
    name = "bob" if who == "staff" else "alice"
    user = make_staff("bob", "view_job") if who == "staff" else get_user_model().objects.get(username=name)
    if "class" in who:
        configure(PERMISSION_CLASSES=[f"{__name__}.NotBarred"])
    stream = Stream(bob.again(caller.base) if who == "staff" else caller, monitor + "events/")
    stream.event()
    Job.objects.update(updated_at=timezone.now())
    stream.event()  # a change reaches a reader who may see it
    if who == "staff":
        user.user_permissions.clear()
    elif who == "owner":
        get_user_model().objects.filter(pk=user.pk).update(is_active=False)
    else:
        user.groups.add(Group.objects.create(name="barred"))
    assert stream.block() == []
    Job.objects.get().cancel()


class NotBarred(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return not request.user.groups.filter(name="barred").exists()
