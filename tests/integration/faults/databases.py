"""Database servers of the test's own, on free ports."""

import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from .processes import Part, Server, children, free_port, give

__all__ = ["Mariadb", "Postgres"]


class Postgres(Server):
    """PostgreSQL with its data in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{port}/shop"
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        give("postgres", folder)
        options = ["-D", str(self.data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"]
        # fsync=off is safe here: the tests kill processes, not the machine.
        settings = ["-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB"]
        super().__init__(
            "postgres", [str(programs / "postgres"), *options, *settings], folder, port, user="postgres"
        )
        initdb = [str(programs / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-N"]
        Part("initdb", initdb, folder, user="postgres").run_to_its_end()

    def is_ready(self) -> bool:
        import psycopg

        try:
            self.execute("SELECT 1", database="postgres")
        except psycopg.Error:
            return False
        return True

    def execute(self, query: str, *params: Any, database: str = "shop") -> list[tuple[Any, ...]]:
        import psycopg

        url = self.url.rsplit("/", 1)[0] + f"/{database}"
        with psycopg.connect(url, autocommit=True, connect_timeout=3) as connection:
            cursor = connection.execute(query, params or None)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def crash(self) -> None:
        """End all its processes at once, without a checkpoint. It recovers at the next start."""
        self.thaw()
        self._each(signal.SIGQUIT)
        self.wait(10)

    kill = crash

    def freeze(self) -> None:
        self.frozen = True
        self._each(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            self._each(signal.SIGCONT)

    def _each(self, number: int) -> None:
        # Each of its processes has a session of its own, so a signal to the process group does not reach them.
        family = [self.pid, *children(self.pid)]
        family += [grandchild for child in family[1:] for grandchild in children(child)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Mariadb(Server):
    """MariaDB with its data in a folder of the test's own. It needs no password."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"mariadb://root@127.0.0.1:{port}/shop"
        give("mysql", folder)
        data, user = f"--datadir={folder / 'data'}", "mysql" if os.getuid() == 0 else ""
        install = ["mariadb-install-db", "--no-defaults", data, "--skip-test-db"]
        Part("install", install, folder, user=user).run_to_its_end()
        own = [data, f"--port={port}", f"--socket={folder / 'socket'}", "--bind-address=127.0.0.1"]
        # As with PostgreSQL: written data survives a killed process without being flushed to the disk.
        settings = ["--skip-grant-tables", "--skip-networking=0", "--innodb-flush-log-at-trx-commit=2"]
        command = [str(shutil.which("mariadbd")), "--no-defaults", *own, *settings]
        super().__init__("mariadb", command, folder, port, user=user)

    def is_ready(self) -> bool:
        import pymysql

        try:
            self.execute("SELECT 1", database="mysql")
        except pymysql.Error:
            return False
        return True

    def execute(self, query: str, *params: Any, database: str = "shop") -> list[tuple[Any, ...]]:
        import pymysql

        connection = pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            database=database,
            autocommit=True,
            connect_timeout=3,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(query, params or None)
            return list(cursor.fetchall())

    def crash(self) -> None:
        self.kill()
