"""``manage.py async_accept``: a relay by itself, and a doctor that says what to do."""

import json
import os
import signal
from contextlib import suppress
from datetime import timedelta
from io import StringIO

import pytest
from celery import current_app
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from async_accept.checks.doctor import Doctor
from async_accept.conf import conf
from async_accept.health import Health
from async_accept.jobs.relay import Relay
from async_accept.management.commands import async_accept as command
from async_accept.testing import make_job
from tests.clocks import Clock
from tests.testapp import tasks

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        not str(current_app.conf.broker_url).startswith("memory"), reason="uses the transport in memory"
    ),
]

AGO = timedelta(minutes=5)


def call(*words):
    """Return what the command prints."""
    out = StringIO()
    call_command("async_accept", *words, stdout=out)
    return out.getvalue()


@pytest.fixture
def no_workers(monkeypatch):
    monkeypatch.setattr(Doctor, "_ask", lambda self, question: {})


# --- relay --once ----------------------------------------------------------------------------------------


def test_once_acts_on_what_is_due():
    job = make_job(tasks.add, dispatch_at=timezone.now() - AGO)
    assert call("relay", "--once") == "0 lost, 1 published, 0 swept\n"
    job.refresh_from_db()
    assert job.dispatches == 1


def test_once_takes_lost_jobs_as_well(monkeypatch, clock):
    """A relay believes in a lost lease only after two heartbeats, and the time that a worker may wait to connect."""
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"connect_timeout": 30})
    job = make_job(tasks.add, state="running", lease_until=timezone.now() - AGO)
    assert call("relay", "--once").startswith("1 lost")
    job.refresh_from_db()
    assert job.state == "failed"
    assert clock.now - 1000 == 2 * conf.HEARTBEAT.total_seconds() + 30


@pytest.fixture
def clock(monkeypatch):
    """Let the command's relay wait in no time."""
    clock = Clock()

    def make():
        relay = Relay(clock=clock)
        relay.stopping.wait = clock.go_on
        return relay

    monkeypatch.setattr(command, "Relay", make)
    return clock


def test_once_fails_while_the_broker_is_down(broker_down):
    make_job(tasks.add, dispatch_at=timezone.now() - AGO)
    with pytest.raises(CommandError, match="1 jobs are due"):
        call("relay", "--once")


def test_once_fails_while_the_database_is_down(monkeypatch):
    def away(self):
        raise OperationalError("hunter2")

    monkeypatch.setattr(Relay, "tick", away)
    with pytest.raises(CommandError, match=r"^The database does not answer: OperationalError$"):
        call("relay", "--once")


# --- relay -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_relay_after_its_tick(monkeypatch, number):
    ticks = []

    def tick(self):
        ticks.append("began")
        os.kill(os.getpid(), number)
        ticks.append("ended")

    before = signal.getsignal(number)
    monkeypatch.setattr(Relay, "tick", tick)
    assert call("relay").endswith("The relay has ended.\n")
    assert ticks == ["began", "ended"]
    assert signal.getsignal(number) is before


# --- health --------------------------------------------------------------------------------------------------------


def test_health_is_good_while_no_job_is_stalled():
    make_job(tasks.add)
    assert json.loads(call("health", "--json")) == {"ok": True, "stalled": 0, "overdue_seconds": 0.0}
    assert call("health") == "0 jobs are stalled.\n"


@pytest.mark.parametrize("words", [["--json"], []])
def test_health_ends_with_an_error_if_a_job_is_stalled(words):
    make_job(tasks.add, dispatch_at=timezone.now() - AGO)
    with pytest.raises(SystemExit) as ended:
        call("health", *words)
    assert ended.value.code == 1


def test_health_tells_a_database_that_lacks_its_tables_from_one_that_is_away(monkeypatch):
    monkeypatch.setattr(command, "examine", lambda: Health(ok=False))
    for missing, told in (
        (
            lambda: ["async_accept.0001_initial"],
            "not migrated: async_accept.0001_initial. Run manage.py migrate",
        ),
        (_away, "does not answer"),
        (list, "does not answer"),
    ):
        monkeypatch.setattr(command, "missing_migrations", missing)
        out = StringIO()
        with pytest.raises(SystemExit):
            call_command("async_accept", "health", stdout=out)
        assert told in out.getvalue()


def _away():
    raise OperationalError("hunter2")


# --- doctor: its words -----------------------------------------------------------------------------------------


def test_the_doctor_tells_what_is_wrong_and_what_to_do(no_workers):
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("async_accept", "doctor", stdout=out, no_color=True)
    assert ended.value.code == 1
    assert "fail  workers   No worker answers, so jobs wait." in out.getvalue()
    assert "→ celery -A " in out.getvalue()
    assert "ok    broker    memory" in out.getvalue()


def test_the_doctor_speaks_json(no_workers):
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("async_accept", "doctor", "--json", stdout=out)
    report = json.loads(out.getvalue())
    assert report["ok"] is False
    assert {"level", "subject", "message", "hint"} == set(report["findings"][0])
    assert {finding["subject"] for finding in report["findings"]} >= {
        "settings",
        "database",
        "jobs",
        "broker",
    }


@pytest.mark.parametrize("text", ["-1", "0", "nan", "inf", "1e300", "soon"])
def test_the_doctor_waits_for_a_time_that_there_is(text):
    with pytest.raises(CommandError, match="no number of seconds above 0"):
        call_command("async_accept", "doctor", f"--timeout={text}")


def test_every_failure_says_what_to_do(no_workers, broker_down, monkeypatch):
    make_job(tasks.add, dispatch_at=timezone.now() - AGO)
    findings = list(Doctor().examine())
    assert all(finding.hint for finding in findings if finding.level != "ok")


@pytest.mark.parametrize("words", [("relay", "--once"), ("doctor", "--timeout", "0.1")])
def test_the_tasks_are_loaded_as_in_a_worker(monkeypatch, no_workers, words):
    """A task that is not known here would be sent to the default queue, whatever queue it names."""
    loaded = []
    monkeypatch.setattr(current_app.loader, "import_default_modules", lambda: loaded.append(1))
    with suppress(SystemExit):
        call(*words)
    assert loaded == [1]
