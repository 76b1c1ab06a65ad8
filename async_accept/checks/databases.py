"""Checks of the database settings: jobs and results can be stored as a 202 promises."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core import checks
from django.db import Error, connections, router
from django_celery_results.models import TaskResult

from ..models import database
from .messages import TAG, error, warning
from .pools import connections_needed, largest_pool
from .servers import SNAPSHOT, isolation_by_server, isolation_hint

__all__ = ["check_atomic_requests", "check_databases", "check_isolation_of_server"]


@checks.register(TAG)
def check_databases(**kwargs: Any) -> list[checks.CheckMessage]:
    """E007: jobs apart from what is read with them. W003: SQLite. W008: local times. W010: isolation. W015: pool."""
    alias = database()
    vendor = connections[alias].vendor
    found = list(_check_router(alias))
    if vendor == "sqlite":
        found.extend(_check_sqlite(alias))
    found.extend(_check_time_zone(alias, vendor))
    found.extend(_check_isolation(alias, vendor))
    found.extend(_check_pool(alias))
    return found


def _check_router(alias: str) -> Iterator[checks.CheckMessage]:
    together: list[tuple[Any, str, str]] = [
        (TaskResult, "celery's results", "they cannot be written in one transaction"),
        (get_user_model(), "users", "no query finds a job with its owner"),
        (ContentType, "content types", "no query finds the object of a job"),
    ]
    for model, name, why in together:
        other = router.db_for_write(model)
        if other != alias:
            app = model._meta.app_label
            yield error(
                7,
                f'Jobs are in the database "{alias}" and {name} in "{other}": {why}.',
                f'Let DATABASE_ROUTERS send "async_accept" and "{app}" to one database.',
            )


def _check_time_zone(alias: str, vendor: str) -> Iterator[checks.CheckMessage]:
    own = connections[alias].settings_dict.get("TIME_ZONE") or "UTC"
    zone = own if settings.USE_TZ else settings.TIME_ZONE
    if vendor in ("sqlite", "mysql") and zone != "UTC":
        yield warning(
            8,
            f"{vendor} stores times of {zone} without their offset. When summer time begins or ends there, leases "
            "and other times are wrong by an hour: running jobs may be taken for lost, and others wait for longer.",
            f'no "TIME_ZONE" in DATABASES["{alias}"]' if settings.USE_TZ else "USE_TZ = True",
        )


@checks.register(checks.Tags.database)
def check_isolation_of_server(databases: Any = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W010, if the role or the server sets the level; for ``check --database`` and ``migrate`` only."""
    alias = database()
    if alias not in (databases or ()):
        return []
    try:
        level = isolation_by_server()
    except Error:
        return []
    return (
        [] if level is None else [_isolation_warning(alias, level, isolation_hint(connections[alias].vendor))]
    )


@checks.register(TAG, deploy=True)
def check_atomic_requests(**kwargs: Any) -> list[checks.CheckMessage]:
    """I002: the transaction of ``ATOMIC_REQUESTS`` fails outside of the view; for ``check --deploy`` only."""
    middleware = "async_accept.middleware.UnavailableMiddleware"
    atomic = [alias for alias in connections if connections[alias].settings_dict.get("ATOMIC_REQUESTS")]
    if not atomic or middleware in settings.MIDDLEWARE:
        return []
    return [
        checks.Info(
            f'ATOMIC_REQUESTS is on for "{atomic[0]}": while the database is away, its transaction fails before the '
            "accepting view is called. The client gets a 500, where the view would have answered 503.",
            hint=f'MIDDLEWARE += ["{middleware}"]',
            id="async_accept.I002",
        )
    ]


def _check_isolation(alias: str, vendor: str) -> Iterator[checks.CheckMessage]:
    options = connections[alias].settings_dict.get("OPTIONS", {})
    if vendor == "postgresql" and "isolation_level" in options:
        from django.db.backends.postgresql.psycopg_any import IsolationLevel

        level = IsolationLevel(options["isolation_level"]).name.lower().replace("_", " ")
    elif vendor == "mysql":
        level = options.get("isolation_level", "read committed") or "the server's own isolation level"
    else:
        return
    if level.lower() != "read committed":
        yield _isolation_warning(alias, level, isolation_hint(vendor))


def _isolation_warning(alias: str, level: str, hint: str) -> checks.CheckMessage:
    return warning(10, f'The isolation level of the database "{alias}" is {level}: {SNAPSHOT}', hint)


def _check_pool(alias: str) -> Iterator[checks.CheckMessage]:
    size, needed = largest_pool(), connections_needed()
    if size is not None and size < needed:
        yield warning(
            15,
            f'The pool of the database "{alias}" has {size} connections, but a worker process needs {needed}: one for '
            "each job that it runs, one for the heartbeat and one for the relay. Jobs may be taken for lost while "
            "their worker waits for a connection.",
            f'"pool": {{"max_size": {needed}}},',
        )


def _check_sqlite(alias: str) -> Iterator[checks.CheckMessage]:
    given = connections[alias].settings_dict
    name, options = str(given["NAME"]), given.get("OPTIONS", {})
    if name == ":memory:" or "mode=memory" in name:
        return
    missing = []
    if "wal" not in str(options.get("init_command", "")).lower() and not _is_wal(name):
        missing.append("journal_mode=WAL")
    if str(options.get("transaction_mode", "")).upper() != "IMMEDIATE":
        missing.append("transaction_mode IMMEDIATE")
    if missing:
        yield warning(
            3,
            f'The SQLite database "{alias}" lacks {" and ".join(missing)}: with a worker beside the web process, '
            'requests fail with "database is locked".',
            '"OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, '
            '"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"},',
        )


def _is_wal(path: str) -> bool:
    """Whether the SQLite file keeps a write-ahead log, by its header (https://www.sqlite.org/fileformat.html)."""
    try:
        with Path(path).open("rb") as file:
            return file.read(20)[18:] == b"\x02\x02"
    except OSError:
        return False
