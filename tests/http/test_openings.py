"""Opening streams: turns, and the threads and connections that are given back."""

import asyncio
import gc
import inspect
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest
from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth import get_user_model
from django.core.handlers.asgi import ASGIHandler
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.urls import resolve, reverse
from rest_framework.authtoken.models import Token

from async_accept.http import openings as module
from async_accept.http import streaming
from async_accept.http.openings import Openings, in_turn, leave_thread
from async_accept.http.seats import UNREAD_SECONDS, Seats
from async_accept.http.views import JobViewSet
from async_accept.jobs.watcher import watcher
from async_accept.testing import make_job
from tests.clocks import Clock
from tests.contract.conftest import eventually
from tests.forks import in_child


@pytest.fixture
def openings(settings, monkeypatch):
    settings.ASYNC_ACCEPT = {"MAX_STREAM_OPENINGS": 2, "POLL_RATE": None}
    openings = Openings()
    monkeypatch.setattr(module, "openings", openings)
    return openings


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


# --- Turns --------------------------------------------------------------------------------------------------------


def test_so_many_have_a_turn_and_the_others_wait_in_order(openings):
    async def run():
        order = []

        async def one(number):
            turn = await openings.turn()
            order.append(number)
            return turn

        tasks = [asyncio.create_task(one(number)) for number in range(5)]
        await until(lambda: len(order) == 2)
        assert (openings.under_way, len(openings.waiting)) == (2, 3)
        for ended in range(3):
            turn = await tasks[ended]
            turn.end()
            turn.end()  # once more changes nothing
            await until(lambda so_many=ended + 3: len(order) == so_many)
            assert openings.under_way == 2
        for task in tasks[3:]:
            (await task).end()
        assert order == [0, 1, 2, 3, 4]

    asyncio.run(run())
    assert (openings.under_way, len(openings.waiting)) == (0, 0)


@pytest.mark.parametrize("is_called", [False, True])
def test_a_client_that_goes_away_while_it_waits_frees_its_place(openings, is_called):
    async def run():
        first, second = await openings.turn(), await openings.turn()
        gone, patient = (asyncio.create_task(openings.turn()) for _ in range(2))
        await until(lambda: len(openings.waiting) == 2)
        if is_called:
            first.end()  # it is called, and goes away before it hears of that
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone
        first.end()
        (await patient).end()
        second.end()

    asyncio.run(run())
    assert (openings.under_way, len(openings.waiting)) == (0, 0)


def test_who_waits_in_a_loop_that_is_closed_keeps_nobody_from_a_turn(openings):
    async def leave_waiting():
        turns.extend([await openings.turn(), await openings.turn()])
        called = asyncio.get_running_loop().create_future()
        openings.waiting[called] = None

    turns = []
    asyncio.run(leave_waiting())
    for turn in turns:
        turn.end()
    assert (openings.under_way, len(openings.waiting)) == (0, 0)


def test_a_forked_process_begins_anew(openings):
    openings.under_way = 2
    openings.lock.acquire()
    assert in_child(lambda: (openings.under_way, openings.lock.locked()) == (0, False))
    openings.lock.release()


def test_a_turn_lasts_as_long_as_its_thread_works(openings):
    """Also if the client goes away: a database that hangs must not be asked by ever more threads."""
    begun, go_on = threading.Event(), threading.Event()

    def view(request):
        begun.set()
        assert go_on.wait(20)

    async def run():
        async with ThreadSensitiveContext():
            task = asyncio.create_task(in_turn(view)(None))
            await until(begun.is_set)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert openings.under_way == 1
            go_on.set()
            await until(lambda: not openings.under_way)

    asyncio.run(run())


def test_a_client_that_goes_away_before_its_thread_begins_ends_the_turn(openings, monkeypatch):
    go_on, taken = threading.Event(), []

    async def turn():
        taken.append(await Openings.turn(openings))
        return taken[0]

    monkeypatch.setattr(openings, "turn", turn)

    async def run():
        async with ThreadSensitiveContext():
            busy = asyncio.create_task(sync_to_async(go_on.wait)(20))
            task = asyncio.create_task(in_turn(lambda request: None)(None))
            await until(lambda: taken)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert openings.under_way == 0
            go_on.set()
            await busy

    asyncio.run(run())
    assert openings.under_way == 0


def test_a_view_that_fails_ends_its_turn(openings):
    def view(request):
        raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(in_turn(view)(None))
    assert openings.under_way == 0


# --- The URL ------------------------------------------------------------------------------------------------------


def test_only_an_event_loop_gets_a_coroutine_function():
    """WSGI and whoever reads the URLconf see the plain view; what is known of it is the same for both."""
    path = "/api/jobs/x/events/"
    plain = resolve(path)

    async def found():
        return resolve(path), resolve("/api/jobs/x/")

    events, monitor = asyncio.run(found())
    assert inspect.iscoroutinefunction(events.func)
    assert not inspect.iscoroutinefunction(plain.func)
    assert not inspect.iscoroutinefunction(monitor.func)
    theirs = {name: value for name, value in vars(plain.func).items() if name != "__wrapped__"}
    assert {name: vars(events.func)[name] for name in theirs} == theirs
    assert events.func.csrf_exempt
    assert events.func.cls is JobViewSet
    assert (events.view_name, events._func_path) == (plain.view_name, plain._func_path)
    assert reverse("async_accept:job-events", args=["x"]) == path


# --- Threads and connections --------------------------------------------------------------------------------------


class Held:
    """The connections to databases that are open, by the threads that opened them; the test's own are left out."""

    def __init__(self):
        self.open, self.most = {}, 0

    def opened(self, wrapper):
        if threading.current_thread() not in (threading.main_thread(), watcher.thread):
            self.open[wrapper] = threading.current_thread()
            self.most = max(self.most, len(self.open))


@pytest.fixture
def held(monkeypatch):
    held = Held()
    connect, close = BaseDatabaseWrapper.connect, BaseDatabaseWrapper.close

    def watched_connect(self):
        connect(self)
        held.opened(self)

    def watched_close(self):
        close(self)
        held.open.pop(self, None)

    monkeypatch.setattr(BaseDatabaseWrapper, "connect", watched_connect)
    monkeypatch.setattr(BaseDatabaseWrapper, "close", watched_close)
    return held


def use_connection():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return threading.current_thread()


@pytest.mark.django_db(transaction=True)
def test_a_request_can_leave_its_thread_and_get_another(held):
    async def run():
        async with ThreadSensitiveContext():
            first = await sync_to_async(use_connection)()
            assert set(held.open.values()) == {first}
            leave_thread()
            leave_thread()
            second = await sync_to_async(use_connection)()
            assert second is not first
            leave_thread()
        first.join(20)
        second.join(20)
        assert [first.is_alive(), second.is_alive()] == [False, False]
        assert not held.open
        leave_thread()  # outside of a request

    asyncio.run(run())


@pytest.mark.django_db(transaction=True)
def test_a_turn_that_has_ended_leaves_no_connection(openings, held):
    """Whatever the answer is: one that is no stream has its thread until it has been sent."""

    async def run():
        async with ThreadSensitiveContext():
            assert (await in_turn(lambda request: use_connection())(None)).is_alive()
            assert not held.open

    asyncio.run(run())


@pytest.mark.parametrize("missing", ["context_to_thread_executor", "thread_sensitive_context"])
def test_another_asgiref_keeps_the_thread(monkeypatch, missing):
    kept = {
        name: getattr(SyncToAsync, name)
        for name in ("context_to_thread_executor", "thread_sensitive_context")
    }
    monkeypatch.setattr(
        module, "SyncToAsync", SimpleNamespace(**{k: v for k, v in kept.items() if k != missing})
    )

    async def run():
        async with ThreadSensitiveContext():
            thread = await sync_to_async(threading.current_thread)()
            leave_thread()
            assert await sync_to_async(threading.current_thread)() is thread

    asyncio.run(run())


class Asking:
    """Sync-only middleware that asks the database before the view and after it."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        use_connection()
        response = self.get_response(request)
        use_connection()
        response["X-Asked"] = "twice"
        return response


class Client:
    """A client of an ASGI application in this process."""

    def __init__(self, application, path, token):
        headers = [(b"accept", b"text/event-stream"), (b"authorization", f"Token {token}".encode())]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [(b"host", b"testserver"), *headers],
        }
        self.peer = ApplicationCommunicator(application, scope)

    async def open(self):
        """Return the status, the headers and the first event."""
        await self.ask()
        start = await self.peer.receive_output(60)
        body = b""
        while b"event: status" not in body:
            body += (await self.peer.receive_output(60))["body"]
        return start["status"], dict(start["headers"]), body

    async def ask(self):
        await self.peer.send_input({"type": "http.request", "body": b"", "more_body": False})

    async def leave(self):
        await self.peer.send_input({"type": "http.disconnect"})
        await self.peer.wait(20)


@pytest.fixture
def alice(transactional_db):
    return get_user_model().objects.create(username="alice")


@pytest.fixture
def client(alice):
    """Return clients that ask for the events of a job of theirs."""
    token = Token.objects.create(user=alice).key
    path = f"/api/jobs/{make_job(owner=alice).pk}/events/"
    return lambda application: Client(application, path, token)


def request_threads():
    return {each for each in threading.enumerate() if each.name.startswith("ThreadPoolExecutor")}


def test_hundreds_of_streams_opened_at_once_take_turns(client, openings, held):
    """All are opened, with as many connections as may open at a time; then they have neither these nor threads."""
    before = request_threads()

    async def run():
        application = ASGIHandler()
        clients = [client(application) for _ in range(200)]
        opened = await asyncio.gather(*(each.open() for each in clients))
        assert {status for status, *_ in opened} == {200}
        assert held.most <= 2
        await asyncio.to_thread(eventually, lambda: not held.open, "no connection")
        await until(lambda: len(watcher.waiting) == 200)
        await asyncio.to_thread(eventually, lambda: not request_threads() - before, "no thread")
        await asyncio.gather(*(each.leave() for each in clients))

    asyncio.run(run())
    assert not watcher.waiting
    assert openings.under_way == 0


def test_connections_of_middleware_are_closed_where_they_were_opened(client, openings, held, settings):
    """Before the turn and after the view; sync-only middleware works as elsewhere."""
    settings.MIDDLEWARE = [f"{__name__}.Asking", *settings.MIDDLEWARE, f"{__name__}.Asking"]
    before = request_threads()

    async def run():
        application = ASGIHandler()
        clients = [client(application) for _ in range(5)]
        opened = await asyncio.gather(*(each.open() for each in clients))
        assert {(status, headers[b"X-Asked"]) for status, headers, _ in opened} == {(200, b"twice")}
        await asyncio.to_thread(eventually, lambda: not held.open, "no connection")
        await asyncio.to_thread(eventually, lambda: not request_threads() - before, "no thread")
        await asyncio.gather(*(each.leave() for each in clients))

    asyncio.run(run())
    assert not held.open


def test_a_client_that_waits_has_no_thread_and_is_forgotten_when_it_leaves(client, openings):
    before = request_threads()

    async def run():
        turns = [await openings.turn() for _ in range(2)]
        early = client(ASGIHandler())
        await early.ask()
        await until(lambda: openings.waiting)
        await asyncio.to_thread(eventually, lambda: not request_threads() - before, "no thread")
        await early.leave()
        assert not openings.waiting
        for turn in turns:
            turn.end()
        late = client(ASGIHandler())
        assert (await late.open())[0] == 200
        await late.leave()

    asyncio.run(run())
    assert openings.under_way == 0


def test_a_client_that_leaves_while_its_stream_is_opened_keeps_no_seat(
    client, openings, settings, monkeypatch
):
    """Nobody reads its response, and nobody closes it: without this, only the garbage collector finds its seat."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_STREAMS_PER_CALLER": 1}
    seats = Seats(Clock())
    monkeypatch.setattr(streaming, "seats", seats)
    taken, go_on = threading.Event(), threading.Event()
    take = seats.take

    def take_slowly(request):
        seat = take(request)
        taken.set()
        assert go_on.wait(20)
        return seat

    async def run():
        monkeypatch.setattr(seats, "take", take_slowly)
        early = client(ASGIHandler())
        await early.ask()
        await until(taken.is_set)
        await early.peer.send_input({"type": "http.disconnect"})
        await until(early.peer.input_queue.empty)
        monkeypatch.setattr(seats, "take", take)
        go_on.set()
        await early.peer.wait(20)
        await until(lambda: not openings.under_way)
        assert await refused(client(ASGIHandler())) == 429
        seats.clock.go_on(UNREAD_SECONDS)
        late = client(ASGIHandler())
        assert (await late.open())[0] == 200
        await late.leave()

    async def refused(another):
        await another.ask()
        return (await another.peer.receive_output(60))["status"]

    gc.disable()
    try:
        asyncio.run(run())
    finally:
        gc.enable()
