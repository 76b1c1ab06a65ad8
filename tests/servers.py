"""The servers that some tests need: which one this run uses, and whether it answers.

A run uses the servers that ``DATABASE_URL`` and ``CELERY_BROKER_URL`` name, and touches no other: a Redis
that happens to listen on this machine may be somebody's. Tests for other servers are skipped with the reason.
With ``ASYNC_ACCEPT_REQUIRE_SERVERS=1`` a server that is not named or does not answer is a failure instead, and so is
a program that is not installed.
"""

import os
import shutil
import socket
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

import pytest


@dataclass(frozen=True)
class Server:
    """A kind of server, as a pytest marker and a URL name it."""

    title: str
    variable: str
    schemes: frozenset[str]
    port: int
    example: str

    def names(self, url: str) -> bool:
        return urlsplit(url).scheme in self.schemes

    def answers(self, url: str) -> bool:
        parts = urlsplit(url)
        address = (parts.hostname or "127.0.0.1", parts.port or self.port)
        try:
            with socket.create_connection(address, timeout=2):
                return True
        except OSError:
            return False


SERVERS = {
    "postgres": Server(
        title="PostgreSQL",
        variable="DATABASE_URL",
        schemes=frozenset({"postgres", "postgresql", "pgsql"}),
        port=5432,
        example="postgres://postgres@127.0.0.1/async_accept",
    ),
    "mariadb": Server(
        title="MariaDB",
        variable="DATABASE_URL",
        schemes=frozenset({"mysql"}),
        port=3306,
        example="mysql://root@127.0.0.1/async_accept",
    ),
    "redis": Server(
        title="Redis",
        variable="CELERY_BROKER_URL",
        schemes=frozenset({"redis", "rediss"}),
        port=6379,
        example="redis://127.0.0.1/0",
    ),
    "rabbitmq": Server(
        title="RabbitMQ",
        variable="CELERY_BROKER_URL",
        schemes=frozenset({"amqp", "amqps", "pyamqp"}),
        port=5672,
        example="amqp://guest:guest@127.0.0.1//",
    ),
}


def required() -> bool:
    return os.environ.get("ASYNC_ACCEPT_REQUIRE_SERVERS", "") not in {"", "0"}


def do_without(reason: str) -> NoReturn:
    """Skip the test that lacks something; where everything is required, let it fail."""
    if required():
        pytest.fail(f"{reason} (ASYNC_ACCEPT_REQUIRE_SERVERS is set)", pytrace=False)
    pytest.skip(reason)


def used_elsewhere(marker: str) -> str | None:
    """Return why this run leaves a marker's tests to another run, or None."""
    server = SERVERS[marker]
    url = os.environ.get(server.variable, "")
    if url and not server.names(url):
        return f"for {server.title}, and the {server.variable} of this run names another server"
    return None


def missing(marker: str) -> str | None:
    """Return what a marker's tests lack on this machine, or None when they can run."""
    if marker == "browser":
        return _missing_browser()
    server = SERVERS[marker]
    url = os.environ.get(server.variable, "")
    if not url:
        return f"needs {server.title}: set {server.variable}, for instance to {server.example}"
    if not server.answers(url):
        return f"needs {server.title}: nothing answers at the {server.variable} of this run"
    return None


def _missing_browser() -> str | None:
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        return "needs a browser: install chromium"
    if not shutil.which("chromedriver"):
        return "needs ChromeDriver: install chromium-driver"
    return None
