"""The database connections of a worker are kept where the settings keep them."""

import pytest
from celery import Celery, _state
from django.db import OperationalError, connections
from django.db.backends.sqlite3.base import DatabaseWrapper

from async_accept.jobs.publish import HEADER
from async_accept.models import Job
from async_accept.testing import make_job
from async_accept.worker.connections import keep_connections
from tests.testapp.tasks import add

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker():
    """Celery's fix-up in a worker of a new app, which keeps connections."""
    app = Celery("kept", set_as_current=False)
    keep_connections(app)
    [fixup] = app._fixups
    return fixup.worker_fixup


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Let these be all connections of the process, each with its settings."""
    opened = []

    def connect(alias="default", **settings):
        given = {**connections["default"].settings_dict, "NAME": tmp_path / "db", "OPTIONS": {}, **settings}
        opened.append(DatabaseWrapper(given, alias))
        opened[-1].connect()
        return opened[-1]

    monkeypatch.setattr(connections, "all", lambda initialized_only=False: opened)
    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture(params=["job", "task"])
def running(request):
    """What runs: a job, or a task without one."""
    headers = {HEADER: 1} if request.param == "job" else {}
    add.push_request(id="1", headers=headers, is_eager=False)
    _state._task_stack.push(add)
    yield request.param
    _state._task_stack.pop()
    add.pop_request()


@pytest.fixture
def celerys():
    """Celery's fix-up as it is: some releases keep connections by themselves."""
    [fixup] = Celery("plain", set_as_current=False)._fixups
    return fixup.worker_fixup


def kept(worker, connection):
    worker.on_task_prerun(add)
    worker.on_task_postrun(add)
    return connection.connection is not None


@pytest.mark.parametrize("max_age", [60, None])
def test_a_connection_is_kept_if_the_settings_say_so(worker, opened, running, max_age):
    assert kept(worker, opened(CONN_MAX_AGE=max_age, CONN_HEALTH_CHECKS=True))


def test_without_health_checks_it_is_kept_for_jobs(worker, celerys, opened, running):
    settings = {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": False}
    expected = running == "job" or kept(celerys, opened(**settings))
    assert kept(worker, opened(**settings)) == expected


def test_it_is_closed_if_the_settings_keep_none(worker, opened, running):
    assert not kept(worker, opened(CONN_MAX_AGE=0, CONN_HEALTH_CHECKS=True))


def test_another_database_is_not_checked_by_a_claim(worker, celerys, opened, running):
    settings = {"alias": "other", "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": False}
    expected = kept(celerys, opened(**settings))
    assert kept(worker, opened(**settings)) == expected


def test_one_that_is_too_old_is_closed(worker, opened, running):
    connection = opened(CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True)
    connection.close_at = 0
    assert not kept(worker, connection)


def test_celerys_own_setting_counts():
    app = Celery("reusing", set_as_current=False)
    app.conf.CELERY_DB_REUSE_MAX = 1
    [fixup] = app._fixups
    called = []
    fixup.worker_fixup.close_database = lambda: called.append(1)
    keep_connections(app)
    fixup.worker_fixup.close_database()
    assert called


def test_a_claim_replaces_a_dead_connection(monkeypatch):
    """So nobody has to ask before each job whether the connection is alive."""
    job = make_job(add)
    connection = connections["default"]
    monkeypatch.setattr(connection, "health_check_enabled", True)
    monkeypatch.setattr(connection, "is_usable", lambda: pytest.fail("it was asked"))
    connection.health_check_done = False
    faults = [OperationalError("server closed the connection unexpectedly")]
    claim = Job.claim

    def fail_first(self, *args, **kwargs):
        if faults:
            raise faults.pop()
        return claim(self, *args, **kwargs)

    monkeypatch.setattr(Job, "claim", fail_first)
    assert add._claim(str(job.pk)).state == "running"
