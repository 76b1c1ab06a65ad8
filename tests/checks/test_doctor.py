"""The doctor: each party that it asks, and its probe. Its words: tests/management/test_command.py."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from celery import current_app
from celery.contrib.testing.worker import start_worker
from celery.worker import loops
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings
from django.urls import path
from django.utils import timezone
from rest_framework.views import APIView

from async_accept.checks import check_isolation_of_server, servers
from async_accept.checks.doctor import Doctor
from async_accept.exceptions import BrokerUnavailable
from async_accept.jobs.broker import Broker
from async_accept.jobs.publish import queue_of
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.tasks import JobTask
from async_accept.testing import make_job
from tests.testapp import tasks
from tests.workers import quick_loop

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        not str(current_app.conf.broker_url).startswith("memory"), reason="uses the transport in memory"
    ),
]

AGO = timedelta(minutes=5)


def only(findings, subject):
    (found,) = [finding for finding in findings if finding.subject == subject]
    return found


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


@pytest.fixture
def findings_on(monkeypatch):
    """Return what the doctor finds in a database of this kind."""

    def examine(**kind):
        monkeypatch.setattr(servers, "missing_migrations", list)
        options = {"isolation_level": "read committed"}
        there = {"default": SimpleNamespace(**kind, settings_dict={"OPTIONS": options})}
        for module in ("doctor", "servers"):
            monkeypatch.setattr(f"async_accept.checks.{module}.connections", there)
        return [(finding.level, finding.message) for finding in Doctor().check_database()]

    return examine


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
def test_a_mariadb_that_sorts_ids_wrongly_is_told(findings_on, version, is_told):
    findings = findings_on(vendor="mysql", mysql_is_mariadb=True, mysql_version=version)
    assert [level for level, message in findings if "sort ids" in message] == ["warn"] * is_told


def test_a_mysql_sorts_ids_as_they_are(findings_on):
    assert len(findings_on(vendor="mysql", mysql_is_mariadb=False, mysql_version=(8, 4, 0))) == 1


def test_a_clock_that_is_wrong_is_told(monkeypatch):
    later = timezone.now() + timedelta(minutes=1)
    monkeypatch.setattr(servers.timezone, "now", lambda: later)
    findings = list(Doctor().check_database())
    assert [finding.level for finding in findings] == ["ok", "warn"]
    assert "NTP" in findings[1].hint


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_an_isolation_level_of_the_role_is_told():
    """Settings do not tell it, so the server is asked: by the doctor, and by ``check --database``."""
    assert check_isolation_of_server(databases=["default"]) == []
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_isolation = 'repeatable read'")
    try:
        findings = list(Doctor().check_database())
        messages = check_isolation_of_server(databases=["default"])
        assert check_isolation_of_server(databases=None) == []
    finally:
        connection.close()
    assert [finding.level for finding in findings] == ["ok", "warn"]
    assert "repeatable read" in findings[1].message
    assert [message.id for message in messages] == ["async_accept.W010"]
    assert findings[1].hint == messages[0].hint == '"isolation_level": IsolationLevel.READ_COMMITTED,'


@pytest.mark.mariadb
@pytest.mark.django_db(transaction=True)
def test_an_isolation_level_of_the_server_is_told(monkeypatch):
    """If the settings leave the level to the server."""
    assert servers.isolation_by_server() is None
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    try:
        assert servers.isolation_by_server() == "repeatable read"
        assert [message.id for message in check_isolation_of_server(databases=["default"])] == [
            "async_accept.W010"
        ]
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("implementation", "jobs", "size", "is_told"),
    [
        ("celery.concurrency.thread:TaskPool", 8, 10, False),
        ("celery.concurrency.thread:TaskPool", 8, 9, True),
        ("celery.concurrency.gevent:TaskPool", 100, 20, True),
        ("celery.concurrency.prefork:TaskPool", 8, 3, False),
        ("celery.concurrency.prefork:TaskPool", 8, 2, True),
        ("celery.concurrency.thread:TaskPool", 8, None, False),
    ],
)
def test_a_worker_with_too_few_connections_is_told(monkeypatch, implementation, jobs, size, is_told):
    """The worker's command line says how many jobs it runs."""
    pool = {"max_size": size} if size else False
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"pool": pool})
    stats = {"w@host": {"pool": {"implementation": implementation, "max-concurrency": jobs}}}
    assert [finding.level for finding in servers.check_pools(stats)] == ["warn"] * is_told


def test_a_forgotten_job_fails():
    job = make_job(tasks.add, dispatch_at=timezone.now() - AGO)
    finding = only(Doctor().check_jobs(), "jobs")
    assert finding.level == "fail"
    assert str(job.pk) in finding.message
    assert "Run a relay" in finding.hint


def test_what_no_relay_mends_is_no_reason_to_run_one():
    job = make_job(tasks.add, state="succeeded")
    Job.objects.filter(pk=job.pk).update(problem={"code": "failed"})
    assert "No relay mends this" in only(Doctor().check_jobs(), "jobs").hint


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
def test_a_redis_that_drops_queues_is_told(monkeypatch, policy, limit, is_told):
    class Client:
        def info(self, section):
            return {"memory": {"maxmemory": limit, "maxmemory_policy": policy}}[section]

    def use(self, work):
        channel = type("channel", (), {"client": Client()})
        return work(type("producer", (), {"channel": channel}))

    monkeypatch.setattr(Broker, "check", lambda self: None)
    monkeypatch.setattr(Broker, "use", use)
    findings = [finding for finding in Doctor().check_broker() if "Redis drops" in finding.message]
    assert [finding.level for finding in findings] == ["warn"] * is_told


def test_a_task_that_no_worker_knows_fails(monkeypatch):
    answers = {"registered": {"w": ["async_accept.probe"]}, "active_queues": {"w": [{"name": "celery"}]}}
    monkeypatch.setattr(Doctor, "_ask", lambda self, question: answers[question])
    messages = [finding.message for finding in Doctor().check_tasks()]
    assert "No worker knows tests.testapp.tasks.add." in messages
    assert "No worker knows async_accept.probe." not in messages


@pytest.mark.parametrize(
    ("name", "queue", "told"),
    [
        ("async_accept.webhooks.deliver", "webhooks", []),
        (
            "async_accept.webhooks.deliver",
            "celery",
            ['No worker listens to the queue "webhooks" of the webhooks.'],
        ),
        ("async_accept.probe", "webhooks", ["No worker knows async_accept.webhooks.deliver."]),
    ],
)
def test_notices_that_cannot_leave_fail(monkeypatch, name, queue, told):
    answers = {"registered": {"w": [name]}, "active_queues": {"w": [{"name": queue}]}}
    monkeypatch.setattr(Doctor, "_ask", lambda self, question: answers[question])
    assert [found.message for found in Doctor().check_tasks() if "webhooks" in found.message] == told


def test_migrations_of_webhooks_are_not_forgotten():
    MigrationRecorder(connection).migration_qs.filter(app="async_accept_webhooks").delete()
    assert any("async_accept_webhooks" in name for name in servers.missing_migrations())


def test_jobs_that_wait_for_a_task_that_no_worker_knows_fail(monkeypatch):
    """It was renamed or removed."""
    for state in ("accepted", "accepted", "running", "failed"):
        make_job("shop.tasks.gone", state=state)
    make_job(tasks.add)
    doctor = Doctor()
    doctor.database_works = True
    answers = {"registered": {"w": list(current_app.tasks)}, "active_queues": {"w": [{"name": "celery"}]}}
    monkeypatch.setattr(Doctor, "_ask", lambda self, question: answers[question])
    (finding,) = (finding for finding in doctor.check_tasks() if "gone" in finding.message)
    assert finding.level == "fail"
    assert finding.message == "No worker knows shop.tasks.gone, and 2 jobs wait for it."


@pytest.mark.parametrize(
    ("pool", "limits", "lacks"),
    [
        ("prefork", {"time_limit": 9, "soft_time_limit": 8}, ""),
        ("gevent", {"time_limit": 9}, ""),
        ("gevent", {"soft_time_limit": 8}, "no soft time limit"),
        ("thread", {"time_limit": 9, "soft_time_limit": 8}, "no hard and no soft time limit"),
        ("solo", {"time_limit": 9}, "no hard time limit"),
        ("eventlet", {"time_limit": 9}, "no hard time limit"),
        ("thread", {}, ""),
    ],
)
def test_a_pool_that_keeps_no_time_limit_is_warned_of(monkeypatch, pool, limits, lacks):
    for name, seconds in limits.items():
        monkeypatch.setattr(tasks.add, name, seconds)
    reply = {"w": {"pool": {"implementation": f"celery.concurrency.{pool}:TaskPool"}}}
    monkeypatch.setattr(Doctor, "_ask", lambda self, question: {"stats": reply}[question])
    told = [finding.message for finding in Doctor().check_limits()]
    assert [lacks in message for message in told] == [True] * bool(lacks)


def test_a_queue_that_nobody_consumes_fails(monkeypatch):
    names = [f"{name} [rate_limit=1]" for name in current_app.tasks]
    answers = {"registered": {"w": names}, "active_queues": {"w": [{"name": "other"}]}}
    monkeypatch.setattr(Doctor, "_ask", lambda self, question: answers[question])
    findings = list(Doctor().check_tasks())
    assert {finding.level for finding in findings} == {"fail"}
    assert findings[0].hint.endswith("--queues celery,other")


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
def test_with_a_worker_everything_is_fine(monkeypatch, settings):
    # Celery's helper ends this worker at once, without a word to its relay, which would tick on in later tests.
    settings.ASYNC_ACCEPT = {"RELAY_IN_WORKER": False}
    # The transport in memory looks for messages once a second, otherwise.
    monkeypatch.setitem(current_app.conf, "broker_transport_options", {"polling_interval": 0.01})
    monkeypatch.setattr(loops, "synloop", quick_loop)
    quiet = {"perform_ping_check": False, "loglevel": "WARNING"}  # Python's own level: it stays like that
    job_tasks = [name for name, task in current_app.tasks.items() if isinstance(task, JobTask)]
    queues = sorted({*(str(queue_of(name)) for name in job_tasks), "webhooks"})
    with start_worker(current_app, pool="solo", shutdown_timeout=30, queues=queues, **quiet):
        findings = list(Doctor(seconds=30).examine())
    assert [finding for finding in findings if finding.level == "fail"] == []
    assert only(findings, "probe").level == "ok"
    assert not Job.objects.exists()


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
