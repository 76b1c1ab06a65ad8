"""Health: it is red exactly while a job is stalled, and tells nobody else about it."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from async_accept import health
from async_accept.health import examine
from async_accept.models import Job
from async_accept.querysets import GRACE
from async_accept.testing import make_job
from tests.testapp.tasks import add

pytestmark = pytest.mark.django_db

TOKEN = "a-token-of-a-monitoring-system"
LATE, IN_TIME = -GRACE - timedelta(seconds=5), -GRACE + timedelta(seconds=5)


@pytest.fixture
def monitor(settings):
    """A client that has the token."""
    settings.ASYNC_ACCEPT = {"MONITORING_TOKENS": ("an-older-one-of-the-tokens", TOKEN)}
    return Client(headers={"authorization": f"Bearer {TOKEN}"})


@pytest.fixture
def away(monkeypatch):
    def fail(*args):
        raise OperationalError("hunter2")

    monkeypatch.setattr(Job.objects.__class__, "get_queryset", fail)


@pytest.mark.parametrize(("late", "ok"), [(LATE, False), (IN_TIME, True)])
@pytest.mark.parametrize(
    ("state", "column"),
    [("accepted", "dispatch_at"), ("running", "lease_until"), ("canceling", "lease_until")],
)
def test_it_is_red_if_the_time_of_an_active_job_is_past(state, column, late, ok):
    make_job(add, state=state, **{column: timezone.now() + late})
    found = examine()
    assert (found.ok, found.stalled) == (ok, int(not ok))
    assert 60 < found.overdue_seconds < 75 if not ok else found.overdue_seconds == 0


@pytest.mark.parametrize("state", ["accepted", "running", "succeeded", "failed", "canceled"])
def test_it_is_green_for_jobs_in_time_and_for_those_that_ended(state):
    make_job(add, state=state)
    assert examine() == (True, 0, 0)


def test_it_asks_once(django_assert_num_queries):
    with django_assert_num_queries(1):
        examine()


def test_ready_says_so_by_its_status(monitor):
    response = monitor.get("/health/ready/")
    assert (response.status_code, response.json()["ok"]) == (200, True)
    assert "no-store" in response["Cache-Control"]
    make_job(add, dispatch_at=timezone.now() + LATE)
    response = monitor.get("/health/ready/")
    assert (response.status_code, response.json()["stalled"]) == (503, 1)


def test_ready_is_red_without_a_database_and_tells_nothing_of_it(monitor, away):
    response = monitor.get("/health/ready/")
    assert response.status_code == 503
    assert response.json() == {"ok": False, "stalled": None, "overdue_seconds": None}


def test_live_asks_nobody(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert client.get("/health/live/").json() == {"ok": True}


# --- Who may read it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer \x00"])
def test_others_are_refused(monitor, sent):
    response = Client().get("/health/ready/", headers={"authorization": sent})
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
    assert TOKEN not in response.content.decode()


def test_nobody_has_a_token_if_there_is_none(client):
    assert client.get("/health/ready/", headers={"authorization": "Bearer "}).status_code == 401


def test_staff_may_read_it(boss, client, alice):
    assert boss.get("/health/ready/").status_code == 200
    client.force_login(alice)
    assert client.get("/health/ready/").status_code == 401


def test_both_tokens_are_good(monitor):
    for token in ("an-older-one-of-the-tokens", TOKEN):
        assert Client().get("/health/ready/", headers={"authorization": f"bearer {token}"}).status_code == 200


def test_a_project_that_wants_a_login_everywhere_lets_them_through(monitor, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert monitor.get("/health/ready/").status_code == 200
    assert Client().get("/health/live/").status_code == 200


def test_it_needs_no_transaction(monitor, settings, away, monkeypatch):
    """That of ``ATOMIC_REQUESTS`` could not begin, and a 500 would be the answer."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    began = []
    monkeypatch.setattr(health, "examine", lambda: began.append(len(connection.savepoint_ids)) or examine())
    before = len(connection.savepoint_ids)
    assert monitor.get("/health/ready/").status_code == 503
    assert began == [before]


def test_it_is_only_read(monitor):
    assert monitor.post("/health/ready/").status_code == 405
    assert monitor.head("/health/ready/").status_code == 200
