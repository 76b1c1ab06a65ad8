"""``manage.py async_accept``: a relay by itself, and a doctor that says what to do."""

import json
import os
import signal
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace

import pytest
from celery import current_app
from celery.contrib.testing.worker import start_worker
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import override_settings
from django.urls import path
from django.utils import timezone
from rest_framework.views import APIView

from async_accept.checks import servers
from async_accept.checks.doctor import Doctor
from async_accept.conf import conf
from async_accept.exceptions import BrokerUnavailable
from async_accept.jobs.broker import Broker
from async_accept.jobs.publish import queue_of
from async_accept.jobs.relay import Relay
from async_accept.management.commands import async_accept as command
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.tasks import JobTask
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


def levels(findings):
    return {finding.subject: finding.level for finding in findings}


def only(findings, subject):
    (found,) = [finding for finding in findings if finding.subject == subject]
    return found


@pytest.fixture
def no_workers(monkeypatch):
    monkeypatch.setattr(Doctor, "_ask", lambda self, question: {})


@pytest.fixture
def broker_down(monkeypatch):
    def refuse(self):
        raise OSError("refused")

    monkeypatch.setattr(Broker, "_connect", refuse)


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


# --- doctor: each party ---------------------------------------------------------------------------------------------


def test_a_mistake_in_the_settings_fails():
    with override_settings(ASYNC_ACCEPT={"LEESE": 1}):
        finding = only(Doctor().check_settings(), "settings")
    assert (finding.level, finding.hint) == ("fail", 'Did you mean "LEASE"?')
    assert "async_accept.E002" in finding.message


def test_a_healthy_database_is_told():
    doctor = Doctor()
    assert only(doctor.check_database(), "database").level == "ok"
    assert doctor.database_works


def test_a_migration_that_is_missing_fails(monkeypatch):
    monkeypatch.setattr(
        servers.MigrationExecutor, "migration_plan", lambda self, nodes: [("async_accept.0002_more", False)]
    )
    finding = only(Doctor().check_database(), "database")
    assert (finding.level, finding.hint) == ("fail", "python manage.py migrate")
    assert "async_accept.0002_more" in finding.message


def test_a_database_that_is_away_fails_and_its_message_is_not_shown(monkeypatch):
    def away(*args):
        raise OperationalError("password=hunter2")

    monkeypatch.setattr(servers, "MigrationExecutor", away)
    doctor = Doctor()
    finding = only(doctor.check_database(), "database")
    assert finding.level == "fail"
    assert "hunter2" not in finding.message
    assert not doctor.database_works


@pytest.mark.parametrize(
    ("version", "is_told"),
    [
        ((10, 6, 20), False),  # keeps UUIDs as text
        ((10, 7, 1), True),
        ((10, 9, 8), True),
        ((10, 10, 7), False),
        ((10, 11, 5), True),
        ((10, 11, 6), False),
        ((11, 2, 1), True),
        ((11, 4, 0), False),
        ((12, 0, 1), False),
    ],
)
def test_a_mariadb_that_sorts_ids_wrongly_is_told(monkeypatch, version, is_told):
    there = SimpleNamespace(vendor="mysql", mysql_is_mariadb=True, mysql_version=version)
    monkeypatch.setattr(servers, "connections", {"default": there})
    assert [finding.level for finding in servers.check_id_order()] == ["warn"] * is_told


def test_a_database_that_sorts_ids_as_they_are_is_not_told(monkeypatch):
    assert not list(servers.check_id_order())
    mysql = SimpleNamespace(vendor="mysql", mysql_is_mariadb=False, mysql_version=(8, 4, 0))
    monkeypatch.setattr(servers, "connections", {"default": mysql})
    assert not list(servers.check_id_order())


def test_a_clock_that_is_wrong_is_told(monkeypatch):
    later = timezone.now() + timedelta(minutes=1)
    monkeypatch.setattr(servers.timezone, "now", lambda: later)
    findings = list(Doctor().check_database())
    assert [finding.level for finding in findings] == ["ok", "warn"]
    assert "NTP" in findings[1].hint


def test_a_forgotten_job_fails():
    job = make_job(tasks.add, dispatch_at=timezone.now() - AGO)
    finding = only(Doctor().check_jobs(), "jobs")
    assert finding.level == "fail"
    assert str(job.pk) in finding.message


def test_healthy_jobs_are_told():
    make_job(tasks.add)
    assert "1 wait" in only(Doctor().check_jobs(), "jobs").message


def test_a_broker_that_is_away_fails(broker_down):
    doctor = Doctor()
    assert only(doctor.check_broker(), "broker").level == "fail"
    assert not doctor.broker_works


@pytest.mark.parametrize(
    ("policy", "limit", "is_told"),
    [
        ("allkeys-lru", 1_000_000, True),
        ("allkeys-lru", 0, False),
        ("noeviction", 1_000_000, False),
        ("volatile-lru", 1_000_000, False),
    ],
)
def test_a_redis_that_drops_queues_is_told(policy, limit, is_told):
    class Client:
        def info(self, section):
            return {"memory": {"maxmemory": limit, "maxmemory_policy": policy}}[section]

    class Lends:
        def use(self, work):
            channel = type("channel", (), {"client": Client()})
            return work(type("producer", (), {"channel": channel}))

    assert bool(list(servers.check_eviction(Lends()))) is is_told


def test_a_task_that_no_worker_knows_fails(monkeypatch):
    answers = {"registered": {"w": ["async_accept.probe"]}, "active_queues": {"w": [{"name": "celery"}]}}
    monkeypatch.setattr(Doctor, "_ask", lambda self, question: answers[question])
    messages = [finding.message for finding in Doctor().check_tasks()]
    assert "No worker knows tests.testapp.tasks.add." in messages
    assert "No worker knows async_accept.probe." not in messages


def test_a_queue_that_nobody_consumes_fails(monkeypatch):
    names = [f"{name} [rate_limit=1]" for name in current_app.tasks]
    answers = {"registered": {"w": names}, "active_queues": {"w": [{"name": "other"}]}}
    monkeypatch.setattr(Doctor, "_ask", lambda self, question: answers[question])
    findings = list(Doctor().check_tasks())
    assert {finding.level for finding in findings} == {"fail"}
    assert findings[0].hint.endswith("--queues celery,other")


def test_a_queue_of_a_view_that_nobody_consumes_fails(monkeypatch):
    class Report(AcceptMixin, APIView):
        accept_queue = "slow"

    names = list(current_app.tasks)
    answers = {"registered": {"w": names}, "active_queues": {"w": [{"name": "celery"}]}}
    monkeypatch.setattr(Doctor, "_ask", lambda self, question: answers[question])
    urls = type("urls", (), {"urlpatterns": [path("report/", Report.as_view())]})
    with override_settings(ROOT_URLCONF=urls):
        (finding,) = (found for found in Doctor().check_tasks() if "Report" in found.message)
    assert (finding.level, '"slow"' in finding.message) == ("fail", True)
    assert finding.hint.endswith("--queues celery,slow")


def test_urls_are_told():
    with override_settings(ALLOWED_HOSTS=["shop.example"]):
        finding = only(Doctor().check_urls(), "urls")
    assert finding.level == "ok"
    assert "http://shop.example/api/jobs/" in finding.message


def test_any_host_is_warned_of():
    with override_settings(ALLOWED_HOSTS=["*"]):
        assert "warn" in [finding.level for finding in Doctor().check_urls()]


@pytest.mark.parametrize(("header", "level"), [(None, "warn"), (("HTTP_X_FORWARDED_PROTO", "https"), "ok")])
def test_behind_a_proxy_urls_are_https_only_if_it_is_trusted(header, level):
    with override_settings(
        ALLOWED_HOSTS=["shop.example"],
        CSRF_TRUSTED_ORIGINS=["https://shop.example"],
        SECURE_PROXY_SSL_HEADER=header,
    ):
        finding = only(Doctor().check_urls(), "urls")
    assert finding.level == level
    assert finding.hint in ("", 'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")')


# --- doctor: the probe ------------------------------------------------------------------------------------------------


def test_a_probe_that_nobody_runs_fails_and_is_deleted():
    doctor = Doctor(seconds=0)
    finding = only(doctor.send_probe(), "probe")
    assert finding.level == "fail"
    assert "still accepted" in finding.message
    assert not Job.objects.exists()


def test_a_broker_that_fails_meanwhile_leaves_no_probe(monkeypatch):
    def refuse(*args):
        raise BrokerUnavailable("OSError")

    monkeypatch.setattr("async_accept.jobs.publish.publish", refuse)
    assert only(Doctor(seconds=0).send_probe(), "probe").level == "fail"
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_with_a_worker_everything_is_fine(monkeypatch):
    # The transport in memory looks for messages once a second, otherwise.
    monkeypatch.setitem(current_app.conf, "broker_transport_options", {"polling_interval": 0.01})
    quiet = {"perform_ping_check": False, "loglevel": "WARNING"}  # Python's own level: it stays like that
    job_tasks = [name for name, task in current_app.tasks.items() if isinstance(task, JobTask)]
    queues = sorted({str(queue_of(name)) for name in job_tasks})
    with start_worker(current_app, pool="solo", shutdown_timeout=30, queues=queues, **quiet):
        findings = list(Doctor(seconds=30).examine())
    assert [finding for finding in findings if finding.level == "fail"] == []
    assert levels(findings)["probe"] == "ok"
    assert not Job.objects.exists()
