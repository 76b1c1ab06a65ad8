"""How environment variables become settings: the shop is configured by them alone (https://12factor.net/config)."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from async_accept.conf import DEFAULTS

__all__ = ["database", "flag", "number", "package", "text", "words"]

dj_database_url.register("mariadb", "django.db.backends.mysql")


def text(name: str, default: str = "") -> str:
    """The variable's value; an empty one counts as not set."""
    return os.environ.get(name) or default


def flag(name: str, default: bool = False) -> bool:
    """True for 1, true, yes, on; False for 0, false, no, off.

    Raises: ImproperlyConfigured for anything else: a slip of the pen must not switch DEBUG on.
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
    """A number. Raises: ImproperlyConfigured when it is none."""
    value = text(name)
    try:
        return float(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number, not {value!r}") from None


def words(name: str, default: list[str]) -> list[str]:
    """A list that is separated by commas or spaces."""
    return text(name).replace(",", " ").split() or default


def package() -> dict[str, Any]:
    """The package's settings: `ASYNC_ACCEPT_LEASE_SECONDS=3`, `ASYNC_ACCEPT_RELAY_IN_WORKER=0`; its defaults else."""
    chosen: dict[str, Any] = {}
    for name, default in DEFAULTS.items():
        if isinstance(default, timedelta):
            if text(f"ASYNC_ACCEPT_{name}_SECONDS"):
                chosen[name] = timedelta(seconds=number(f"ASYNC_ACCEPT_{name}_SECONDS", 0))
        elif isinstance(default, bool):
            chosen[name] = flag(f"ASYNC_ACCEPT_{name}", default)
    return chosen


def database(url: str) -> dict[str, Any]:
    """Django's entry for `sqlite:///file`, `postgresql://…`, `mariadb://…` or `mysql://…`, made fit for servers."""
    entry: dict[str, Any] = {**dj_database_url.parse(url)}
    if entry["ENGINE"].endswith("sqlite3"):
        return _sqlite(entry)
    return _server(entry)


def _sqlite(entry: dict[str, Any]) -> dict[str, Any]:
    """Readers beside one writer, and writers that wait for each other.

    A transaction that begins by reading and writes later fails at once with "database is locked", whatever
    the timeout (https://www.sqlite.org/lang_transaction.html); `IMMEDIATE` makes it wait its turn.
    `synchronous` stays FULL, SQLite's default: an accepted job must outlive a power cut.
    """
    if entry["NAME"] != ":memory:":
        Path(entry["NAME"]).parent.mkdir(parents=True, exist_ok=True)
    options = {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE", "timeout": 20}
    return {**entry, "OPTIONS": {**options, **entry.get("OPTIONS", {})}}


def _server(entry: dict[str, Any]) -> dict[str, Any]:
    """PostgreSQL, MariaDB, MySQL: one that is down is noticed within seconds, so that a 503 comes quickly."""
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
    """Let PyMySQL, which needs no compiler, stand in for mysqlclient where that is not installed."""
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.install_as_MySQLdb()
