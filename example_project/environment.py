"""Read settings from environment variables (https://12factor.net/config)."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from async_accept.conf import DEFAULTS

__all__ = ["database", "flag", "number", "package_settings", "text", "words"]

dj_database_url.register("mariadb", "django.db.backends.mysql")


def text(name: str, default: str = "") -> str:
    """Return the variable's value. An empty variable counts as not set."""
    return os.environ.get(name) or default


def flag(name: str, default: bool = False) -> bool:
    """Return True for 1, true, yes or on, and False for 0, false, no or off.

    Raises:
        ImproperlyConfigured: for any other value, so that a typing error does not switch DEBUG on.
    """
    value = text(name).strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {value!r}")


def number(name: str, default: float) -> float:
    """Return the variable's value as a number.

    Raises:
        ImproperlyConfigured: it is not a number.
    """
    value = text(name)
    try:
        return float(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number, not {value!r}") from None


def words(name: str, default: list[str]) -> list[str]:
    """Return a list. In the variable, commas or spaces separate its items."""
    return text(name).replace(",", " ").split() or default


def package_settings() -> dict[str, Any]:
    """Return those settings of async_accept that have a variable: durations and switches.

    A duration is a number of seconds: `ASYNC_ACCEPT_LEASE_SECONDS=3`. A switch is a flag:
    `ASYNC_ACCEPT_RELAY_IN_WORKER=0`.
    """
    chosen: dict[str, Any] = {}
    for name, default in DEFAULTS.items():
        if isinstance(default, timedelta):
            variable = f"ASYNC_ACCEPT_{name}_SECONDS"
            if text(variable):
                chosen[name] = timedelta(seconds=number(variable, 0))
        elif isinstance(default, bool):
            chosen[name] = flag(f"ASYNC_ACCEPT_{name}", default)
    return chosen


def database(url: str) -> dict[str, Any]:
    """Return Django's settings for `sqlite:///file`, `postgresql://…`, `mariadb://…` or `mysql://…`."""
    entry: dict[str, Any] = {**dj_database_url.parse(url)}
    return _sqlite(entry) if entry["ENGINE"].endswith("sqlite3") else _server(entry)


def _sqlite(entry: dict[str, Any]) -> dict[str, Any]:
    """Add options that let one process write while others read, and let writers wait for each other.

    With WAL, readers do not block the writer. With `IMMEDIATE`, a transaction takes the write lock when it begins,
    and waits up to `timeout` seconds for it. Without, a transaction that reads first and writes later can fail
    at once with "database is locked" (https://www.sqlite.org/lang_transaction.html).
    `synchronous` stays FULL, SQLite's default, so that an accepted job survives a power cut.
    """
    if entry["NAME"] != ":memory:":
        Path(entry["NAME"]).parent.mkdir(parents=True, exist_ok=True)
    options = {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE", "timeout": 20}
    return {**entry, "OPTIONS": {**options, **entry.get("OPTIONS", {})}}


def _server(entry: dict[str, Any]) -> dict[str, Any]:
    """Add options for PostgreSQL, MariaDB and MySQL.

    With `connect_timeout`, requests get their 503 within seconds while the server is down.
    `CONN_MAX_AGE` is how many seconds a connection is kept.
    """
    options: dict[str, Any] = {"connect_timeout": 3}
    if entry["ENGINE"].endswith("mysql"):
        _use_pymysql()
        options["charset"] = "utf8mb4"
    return {
        **entry,
        "OPTIONS": {**options, **entry.get("OPTIONS", {})},
        "CONN_MAX_AGE": int(number("CONN_MAX_AGE", 0)),
        "CONN_HEALTH_CHECKS": True,
    }


def _use_pymysql() -> None:
    """Use PyMySQL, which needs no compiler, if mysqlclient is not installed."""
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.install_as_MySQLdb()
