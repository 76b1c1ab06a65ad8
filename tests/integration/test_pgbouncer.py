"""PgBouncer in transaction mode between the application and PostgreSQL: nothing needs the state of a session."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection

from async_accept.jobs.relay import Relay
from async_accept.models import Job
from async_accept.states import State
from tests.servers import do_without

from .conftest import Start
from .faults.processes import free_port
from .test_real_worker import accept, make_due, until, wait_for_end

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

#: How many connections the pooler has to the server, for all of its clients.
CONNECTIONS = 2
CLIENTS = 8


@pytest.fixture
def pooled(child_environment: dict[str, str]) -> Iterator[str]:
    """Let this process reach its database through a PgBouncer; its URL, for other processes."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        do_without("needs PgBouncer: install pgbouncer")
    server, port = urlsplit(child_environment["DATABASE_URL"]), free_port()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)  # PgBouncer refuses to run as root, and another user reads this
        users, settings = Path(folder, "users.txt"), Path(folder, "pgbouncer.ini")
        users.write_text(f'"{server.username}" "{server.password or ""}"\n')
        settings.write_text(
            f"[databases]\n* = host={server.hostname} port={server.port or 5432}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\nadmin_users = {server.username}\n"
            f"pool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\nmax_client_conn = 200\n"
            "ignore_startup_parameters = options\n"  # the tests' own: how a commit is synchronized
        )
        user = {"user": "postgres"} if os.getuid() == 0 else {}
        with subprocess.Popen([program, "-q", settings], **user) as pooler:  # type: ignore[call-overload]
            through = server._replace(netloc=f"{server.netloc.rpartition('@')[0]}@127.0.0.1:{port}")
            try:
                until(lambda: _answers(through.geturl()))
                with connected_to({"HOST": "127.0.0.1", "PORT": port}):
                    yield through.geturl()
            finally:
                pooler.terminate()


@contextmanager
def connected_to(address: dict[str, object]) -> Iterator[None]:
    """Let the connections of all threads of this process go elsewhere."""
    before = {name: connection.settings_dict.get(name) for name in address}
    connection.close()
    connection.settings_dict.update(address)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


def _answers(url: str) -> bool:
    with suppress(psycopg.Error), psycopg.connect(url, connect_timeout=3):
        return True
    time.sleep(0.05)
    return False


def _accept(number: int) -> Job:
    try:
        return accept(slug=f"pooled-{number}")
    finally:
        connection.close()


def test_jobs_are_accepted_worked_off_and_relayed_in_transaction_mode(pooled: str, start_worker: Start):
    with ThreadPoolExecutor(CLIENTS) as threads:
        jobs = list(threads.map(_accept, range(20)))
    # The relay's part: one that is due is published by this process, whose statements go to whichever is free.
    make_due(jobs[0])
    relay = Relay()
    assert relay.tick()["published"] == 1
    relay.broker.close()
    start_worker(DATABASE_URL=pooled)
    assert {wait_for_end(job).state for job in jobs} == {State.SUCCEEDED}
    with psycopg.connect(pooled.rpartition("/")[0] + "/pgbouncer", autocommit=True) as console:
        pools = console.cursor(row_factory=psycopg.rows.dict_row)
        [pool] = [
            row for row in _shown(pools, "SHOW POOLS") if row["database"] == connection.settings_dict["NAME"]
        ]
        assert pool["pool_mode"] == "transaction"
        assert sum(pool[name] for name in ("sv_active", "sv_idle", "sv_used")) <= CONNECTIONS
        [stats] = [row for row in _shown(pools, "SHOW STATS") if row["database"] == pool["database"]]
        assert stats["total_query_count"] > 40  # all of it went this way


def _shown(cursor: "psycopg.Cursor[dict[str, object]]", command: str) -> list[dict[str, object]]:
    return cursor.execute(command).fetchall()
