"""The databases of the benchmarks: made anew for each run, so that each begins with the same."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

DEFAULT_URL = "postgres://postgres@127.0.0.1:5432/bench"


def url() -> str:
    return os.environ.get("DATABASE_URL") or DEFAULT_URL


def name_of(project: str) -> str:
    return urlsplit(url()).path.removeprefix("/") + f"_{project}"


def execute(query: str, *params: Any) -> list[tuple[Any, ...]]:
    """Run one statement in the server's database for maintenance."""
    return (_in_mariadb if is_mariadb() else _in_postgres)(query, params)


def is_mariadb() -> bool:
    return urlsplit(url()).scheme == "mysql"


def _in_postgres(query: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    import psycopg

    server = urlsplit(url())._replace(scheme="postgresql", path="/postgres").geturl()
    with psycopg.connect(server, autocommit=True, connect_timeout=3) as connection:
        cursor = connection.execute(query, params or None)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def _in_mariadb(query: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    import pymysql

    server = urlsplit(url())
    user: dict[str, Any] = {"user": server.username, "password": server.password or ""}
    with pymysql.connect(host=server.hostname, port=server.port or 3306, **user) as connection:
        cursor = connection.cursor()
        cursor.execute(query, params)
        return list(cursor.fetchall())


@contextmanager
def made(*projects: str) -> Iterator[None]:
    """Make the databases of *projects* anew, and drop them at the end, however that comes.

    Raises:
        SystemExit: the server does not answer.
    """
    try:
        execute("SELECT 1")
    except Exception as error:
        raise SystemExit(f"The database does not answer (DATABASE_URL): {type(error).__name__}") from None
    try:
        for project in projects:
            _drop(project)
            execute(f"CREATE DATABASE {_quoted(project)}")
        yield
    finally:
        for project in projects:
            _drop(project)


def _drop(project: str) -> None:
    # PostgreSQL has to be told that others may still be connected.
    execute(f"DROP DATABASE IF EXISTS {_quoted(project)}{'' if is_mariadb() else ' WITH (FORCE)'}")


def _quoted(project: str) -> str:
    quote = "`" if is_mariadb() else '"'
    return f"{quote}{name_of(project)}{quote}"


def version() -> str:
    """Return the name and the version of the server."""
    if is_mariadb():
        [[found]] = execute("SELECT version()")
        return f"MariaDB {found.partition('-')[0]}"
    [[found]] = execute("SHOW server_version")
    return f"PostgreSQL {found.split()[0]}"


def backends(project: str) -> list[int]:
    """Return the process ids of PostgreSQL's ends of all connections; of use if it is on this machine."""
    rows = execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", name_of(project))
    return [pid for (pid,) in rows]
