import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import current_app
from django import urls
from django.db import connection, connections, transaction
from django.test import Client, TransactionTestCase
from hypothesis import settings as hypothesis_settings
from rest_framework.test import APIClient

from async_accept import signals
from async_accept.admin import detail
from async_accept.jobs import keys, relay
from async_accept.jobs.attempt import current_attempt, end
from async_accept.jobs.broker import Broker
from tests import servers
from tests.live import LiveServer

# The same examples in every run, and no deadline: a slow machine is no bug.
hypothesis_settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis_settings.load_profile("repeatable")

pytest_plugins = ["async_accept.contrib.pytest"]

#: What every migrated database has; no test changes it.
PERMANENT = {"django_content_type", "auth_permission"}


def _remove_rows(self: TransactionTestCase) -> None:
    """Empty the tables after a test that commits.

    Django truncates them and then makes content types and permissions again, for PostgreSQL 0.2 s of work a time.
    """
    for alias in self._databases_names(include_mirrors=False):
        database = connections[alias]
        tables = set(database.introspection.django_table_names(include_views=False)) - PERMANENT
        with (
            transaction.atomic(alias),
            database.constraint_checks_disabled(),
            database.cursor() as cursor,
        ):
            if database.vendor == "postgresql":  # what others have begun ends first, as before a TRUNCATE
                names = ", ".join(map(database.ops.quote_name, sorted(tables)))
                cursor.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
            for table in sorted(tables):
                cursor.execute(f"DELETE FROM {database.ops.quote_name(table)}")


# Django forgets how URLs are resolved whenever a test has a URLconf of its own, and to find that out again costs more
# than most tests. A URLconf is resolved alike each time. A test that changes one in place forgets it by
# django.urls.base.clear_url_caches().
urls.clear_url_caches = lambda: None
TransactionTestCase._fixture_teardown = _remove_rows  # type: ignore[method-assign]
# Django opens new connections after such a test. Ours keep theirs: a test that changes its connection closes it.
TransactionTestCase._should_reload_connections = lambda self: False  # type: ignore[method-assign]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: many tests wait for a server, a worker or a client."""
    return int(os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or (os.cpu_count() or 1) + 1)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose server or browser is absent, before any fixture reaches for it."""
    markers = [name for name in (*servers.SERVERS, "browser") if item.get_closest_marker(name)]
    for name in markers:
        if name in servers.SERVERS and (reason := servers.used_elsewhere(name)):
            pytest.skip(reason)
    for name in markers:
        if reason := servers.missing(name):
            servers.do_without(reason)


@pytest.fixture(autouse=True)
def _leaves_no_attempt() -> Iterator[None]:
    """An attempt that a test leaves behind would be the next test's."""
    yield
    left = current_attempt()
    while attempt := current_attempt():
        end(attempt)
    assert left is None, f"The test left {left.job} running in this thread."


@pytest.fixture(autouse=True)
def _sees_no_keys() -> None:
    """The keys of one test are not those of the next, whose database is empty."""
    keys.seen.clear()


@pytest.fixture(autouse=True)
def _webhooks_rest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of its own tests, the app of webhooks does nothing, as if it was not installed."""
    if "webhooks" not in request.path.relative_to(Path(__file__).parent).parts:
        monkeypatch.setattr(signals.job_ending, "receivers", [])
        monkeypatch.setattr(relay, "DUTIES", {})
        monkeypatch.setattr(detail, "BLOCKS", [])


@pytest.fixture(scope="session")
def live_server() -> Iterator[LiveServer]:
    """One server for all tests of a process."""
    server = LiveServer("localhost")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _live_server_rests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Before a test loses its database, the live server ends what it does."""
    if "live_server" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("transactional_db")
    yield
    request.getfixturevalue("live_server").end_connections()


@pytest.fixture
def alice(django_user_model: Any) -> Any:
    return django_user_model.objects.create(username="alice")


@pytest.fixture
def alices(alice: Any) -> APIClient:
    """A client of the API that is alice's."""
    client = APIClient()
    client.force_authenticate(alice)
    return client


@pytest.fixture
def boss(django_user_model: Any) -> Client:
    """A browser of one who may do everything in the admin."""
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("boss"))
    return client


@pytest.fixture
def broker_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection to the broker can be made."""

    def refuse(self: Broker) -> None:
        raise OSError("refused")

    monkeypatch.setattr(Broker, "_connect", refuse)


@pytest.fixture
def child_environment(transactional_db: None) -> dict[str, str]:
    """The environment for a process that a test starts: the test database, the broker of this run."""
    name = str(connection.settings_dict["NAME"])
    url = os.environ.get("DATABASE_URL")
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": urlsplit(url)._replace(path=f"/{name}").geturl() if url else f"sqlite:///{name}",
    }


@pytest.fixture
def eager() -> Iterator[Any]:
    """Celery's settings while tasks run where they are called."""
    before = current_app.conf.task_always_eager, current_app.conf.task_store_eager_result
    current_app.conf.task_always_eager = True
    yield current_app.conf
    current_app.conf.task_always_eager, current_app.conf.task_store_eager_result = before
