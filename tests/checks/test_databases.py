"""E007, I002, W003, W008, W010, W015: databases."""

from types import SimpleNamespace

import pytest
from django.core import checks as django_checks
from django.db import connections
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.test import override_settings

from async_accept import checks
from async_accept.checks import check_databases, pools
from tests.checks.conftest import told

IMMEDIATE = {"transaction_mode": "IMMEDIATE"}


class Router:
    """Sends the models of one app to another database."""

    def __init__(self, app):
        self.app = app

    def db_for_write(self, model, **hints):
        return "other" if model._meta.app_label == self.app else None


@pytest.mark.parametrize("app", ["django_celery_results", "auth", "contenttypes"])
def test_what_is_in_another_database_than_jobs_is_told(app):
    with override_settings(DATABASE_ROUTERS=[Router(app)]):
        message = told(check_databases)["E007"]
    assert f'"{app}"' in message.hint
    assert 'in "other"' in message.msg


def test_sqlite_as_django_sets_it_up_is_told_with_the_whole_mend(database):
    database()
    message = told(check_databases)["W003"]
    assert "journal_mode=WAL and transaction_mode IMMEDIATE" in message.msg
    mend = eval("{" + message.hint + "}")  # noqa: S307
    database(**mend["OPTIONS"])
    assert told(check_databases) == {}


def test_sqlite_without_immediate_transactions_is_told(database):
    database(init_command="PRAGMA journal_mode=WAL;")
    assert "lacks transaction_mode IMMEDIATE" in told(check_databases)["W003"].msg


def test_a_file_that_keeps_a_write_ahead_log_needs_no_command(database):
    file = database(**IMMEDIATE)
    file.write_bytes(b"SQLite format 3\0\x10\x00\x02\x02")
    assert told(check_databases) == {}
    file.write_bytes(b"SQLite format 3\0\x10\x00\x01\x01")
    assert "W003" in told(check_databases)


def test_sqlite_in_memory_is_not_told(monkeypatch):
    connection = SimpleNamespace(vendor="sqlite", settings_dict={"NAME": ":memory:"})
    for module in (checks.celery, checks.databases):
        monkeypatch.setattr(module, "connections", {"default": connection})
    assert told(check_databases) == {}


@pytest.mark.parametrize("vendor", ["postgresql", "mysql"])
def test_a_database_server_is_not_told(database, vendor):
    database(vendor)
    assert told(check_databases) == {}


@pytest.mark.parametrize(("vendor", "is_told"), [("mysql", True), ("postgresql", False)])
def test_times_without_a_zone_are_told_where_the_database_keeps_none(database, vendor, is_told):
    database(vendor)
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        assert ("W008" in told(check_databases)) is is_told
    with override_settings(USE_TZ=False, TIME_ZONE="UTC"):
        assert "W008" not in told(check_databases)


@pytest.mark.parametrize(("vendor", "is_told"), [("mysql", True), ("sqlite", True), ("postgresql", False)])
def test_a_zone_of_the_databases_own_settings_is_told_as_well(database, vendor, is_told):
    database(vendor)
    own = checks.databases.connections["default"].settings_dict
    own["TIME_ZONE"] = "Europe/Berlin"
    assert ("W008" in told(check_databases)) is is_told
    own["TIME_ZONE"] = "UTC"
    assert "W008" not in told(check_databases)


@pytest.mark.parametrize(
    ("vendor", "level", "is_told"),
    [
        ("postgresql", IsolationLevel.READ_COMMITTED, False),
        ("postgresql", IsolationLevel.REPEATABLE_READ, True),
        ("postgresql", IsolationLevel.SERIALIZABLE, True),
        ("postgresql", IsolationLevel.SERIALIZABLE.value, True),
        ("mysql", "read committed", False),
        ("mysql", "READ COMMITTED", False),
        ("mysql", "repeatable read", True),
        ("mysql", "serializable", True),
        ("mysql", None, True),
    ],
)
def test_transactions_that_do_not_see_what_others_commit_are_told(database, vendor, level, is_told):
    database(vendor, isolation_level=level)
    messages = told(check_databases)
    assert ("W010" in messages) is is_told
    if is_told:
        mended = eval("{" + messages["W010"].hint + "}", {"IsolationLevel": IsolationLevel})  # noqa: S307
        database(vendor, **mended)
        assert told(check_databases) == {}


@pytest.mark.parametrize(
    ("pool", "options", "is_told"),
    [
        (None, {"worker_pool": "threads", "worker_concurrency": 50}, False),
        (True, {}, False),  # psycopg's default: 4
        ({"max_size": 2}, {}, True),
        (True, {"worker_pool": "threads", "worker_concurrency": 3}, True),
        ({"min_size": 10}, {"worker_pool": "threads", "worker_concurrency": 8}, False),
        ({"min_size": 2, "max_size": 52}, {"worker_pool": "gevent", "worker_concurrency": 50}, False),
        ({"max_size": 51}, {"worker_pool": "gevent", "worker_concurrency": 50}, True),
    ],
)
def test_a_pool_that_is_too_small_for_a_worker_is_told(database, celery, monkeypatch, pool, options, is_told):
    monkeypatch.setattr(pools, "current_app", celery(**options))
    database("postgresql", **({"pool": pool} if pool else {}))
    messages = told(check_databases)
    assert ("W015" in messages) is is_told
    if is_told:
        database("postgresql", **eval("{" + messages["W015"].hint + "}"))  # noqa: S307
        assert told(check_databases) == {}


def test_an_outage_around_the_views_is_noted(monkeypatch, settings):
    assert "I002" not in told(checks.check_atomic_requests)
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    note = told(checks.check_atomic_requests)["I002"]
    assert note.level == django_checks.INFO
    mended = {"MIDDLEWARE": list(settings.MIDDLEWARE)}
    exec(note.hint, mended)  # noqa: S102
    settings.MIDDLEWARE = mended["MIDDLEWARE"]
    assert "I002" not in told(checks.check_atomic_requests)
