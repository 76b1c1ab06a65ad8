"""The throttle of polls."""

import logging
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from rest_framework.test import APIRequestFactory

from async_accept.http import throttling
from async_accept.http.throttling import PollThrottle, ProcessMemory
from async_accept.testing import make_job


def key(pk, user=None):
    request = APIRequestFactory().get("/")
    request.user = user or SimpleNamespace(is_authenticated=False, pk=None)
    return PollThrottle().get_cache_key(request, SimpleNamespace(kwargs={"pk": pk} if pk else {}))


def test_each_caller_and_job_is_counted_apart():
    pk, alice, bob = str(uuid4()), *(SimpleNamespace(is_authenticated=True, pk=pk) for pk in (1, 2))
    assert key(pk, alice) == key(pk.upper(), alice)
    assert len({key(pk, alice), key(pk, bob), key(pk), key(str(uuid4()), alice), key(None, alice)}) == 5


@pytest.mark.parametrize("pk", ["x" * 5000, "\0", "a b", "é"])
def test_a_malformed_id_makes_a_key_that_every_cache_takes(pk):
    assert len(key(pk)) < 100
    assert key(pk).isascii()


@pytest.mark.parametrize("history", [[], [100.0], [100.0, 99.9]])
def test_retry_after_is_at_least_a_second(history, settings):
    settings.ASYNC_ACCEPT = {"POLL_RATE": "1/s"}
    throttle = PollThrottle()
    throttle.history, throttle.now = history, 101.0
    assert throttle.wait() >= 1


@pytest.fixture
def no_cache(monkeypatch):
    """Let the cache refuse every connection."""

    def refuse(*args, **kwargs):
        raise ConnectionError("redis://:hunter2@cache:6379/0 refused the connection")

    monkeypatch.setattr(PollThrottle, "cache_is_away", False)
    monkeypatch.setattr(PollThrottle, "cache", SimpleNamespace(get=refuse, set=refuse))
    return monkeypatch


@pytest.fixture
def view():
    return SimpleNamespace(kwargs={"pk": str(uuid4())})


def read(method="GET"):
    request = APIRequestFactory().generic(method, "/")
    request.user = None
    return request


def test_a_cache_that_is_away_throttles_nobody_and_is_logged_once(no_cache, view, caplog):
    """Contract 19."""
    with caplog.at_level(logging.WARNING, "async_accept.http"):
        assert all(PollThrottle().allow_request(read(), view) for _ in range(3))
    (record,) = caplog.records
    assert "ConnectionError" in record.getMessage()
    assert "hunter2" not in caplog.text


def test_the_next_outage_of_the_cache_is_logged_again(no_cache, view, caplog):
    assert PollThrottle().allow_request(read(), view)
    with no_cache.context() as healthy:
        healthy.setattr(PollThrottle, "cache", caches["default"])
        assert PollThrottle().allow_request(read(), view)
    assert PollThrottle().allow_request(read(), view)
    assert len(caplog.records) == 2


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_changes_are_no_polls(settings, view, method):
    """Contract 19: they are not counted and not refused."""
    settings.ASYNC_ACCEPT = {"POLL_RATE": "1/h"}
    assert all(PollThrottle().allow_request(read(method), view) for _ in range(3))
    assert PollThrottle().allow_request(read("HEAD"), view)
    assert not PollThrottle().allow_request(read(), view)
    assert PollThrottle().allow_request(read(method), view)


# --- The project's own cache ----------


def test_polls_of_ten_thousand_ids_leave_the_projects_cache_alone(settings):
    """LocMemCache drops entries above 300."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    own = {f"own-{number}": number for number in range(200)}
    caches["default"].set_many(own)
    poll, throttle = read(), PollThrottle()
    for _ in range(10_000):
        assert throttle.allow_request(poll, SimpleNamespace(kwargs={"pk": str(uuid4())}))
    assert caches["default"].get_many(own) == own
    assert len(PollThrottle.cache.kept) == throttling.KEYS
    caches["default"].clear()


@pytest.mark.django_db
def test_no_request_for_a_job_writes_into_a_cache(alices, alice, monkeypatch):
    job = make_job("tests.testapp.tasks.add", owner=alice, state="failed", input={"x": 1, "y": 2})
    written = []
    for name in ("set", "add", "set_many", "incr", "touch", "delete"):
        monkeypatch.setattr(LocMemCache, name, lambda *args, **kwargs: written.append(args))
    for pk in (job.pk, uuid4(), "nonsense"):
        for endpoint in ("", "?wait=1", "result/", "events/"):
            assert alices.get(f"/api/jobs/{pk}/{endpoint}").status_code in (200, 404, 406, 409)
        for endpoint in ("cancel/", "rerun/"):
            assert alices.post(f"/api/jobs/{pk}/{endpoint}").status_code in (202, 404, 409)
    assert alices.get("/api/jobs/").status_code == 200
    assert alices.post("/api/sums/", {"x": 1, "y": 2}).status_code == 202
    assert written == []


def test_the_memory_forgets_the_oldest_first(monkeypatch):
    monkeypatch.setattr(throttling, "TIMES", 5)
    memory = ProcessMemory()
    for key in "abc":
        memory.set(key, [1.0, 2.0])
    assert [memory.get(key, []) for key in "abc"] == [[], [1.0, 2.0], [1.0, 2.0]]
    memory.set("c", [1.0] * 5)
    assert (list(memory.kept), memory.times) == (["c"], 5)
    memory.set("d", [1.0] * 6)  # more than fit
    assert (list(memory.kept), memory.times) == ([], 0)
