"""The parts of a small installation, each a process of the suite's own that can be killed, frozen and restarted."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Mariadb", "Part", "Postgres", "Rabbitmq", "Redis", "free_port", "python_part", "until"]

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 40.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def until(condition: Callable[[], Any], seconds: float, what: str = "", pause: float = 0.05) -> Any:
    """Wait for *condition* to give something true, and return that. Fails when *seconds* are over."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain{': ' + what if what else ''}")
        time.sleep(pause)
    return value


class Part:
    """A process with its children, in a process group of its own."""

    def __init__(
        self,
        name: str,
        command: list[str],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        user: str = "",
    ) -> None:
        self.name = name
        self.command = command
        #: Servers refuse to run as root.
        self.user = user if user and os.getuid() == 0 else None
        self.folder = folder
        self.env = dict(os.environ if env is None else env)
        if self.user:
            self.env["TMPDIR"] = str(folder)  # the caller's may be closed to others
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.frozen = False

    def is_ready(self) -> bool:
        return True

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} does not run"
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
            )
        self.frozen = False
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.runs, f"{self.name} ended:\n{self.tail()}"
            return self.is_ready()

        until(ready, START_SECONDS, f"{self.name} to be ready\n{self.tail()}")

    def run_to_its_end(self) -> None:
        self.start(wait=False)
        assert self.process is not None
        assert self.process.wait(START_SECONDS) == 0, self.tail()

    def send(self, number: int) -> None:
        """Send a signal to every process of this part."""
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """As a power cut."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.send(signal.SIGKILL)
            self.process.wait()
        self.frozen = False

    def ask_to_stop(self, number: int = signal.SIGTERM) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float) -> None:
        assert self.process is not None
        self.process.wait(seconds)

    def stop(self) -> None:
        if not self.runs:
            return
        self.thaw()
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(8)
        self.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        self.frozen = True
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            self.send(signal.SIGCONT)

    def children(self) -> list[int]:
        """The processes that this one has started."""
        return children(self.pid)

    def tail(self, characters: int = 3000) -> str:
        return self.text()[-characters:]

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Server(Part):
    """A part that listens on a port of its own."""

    def __init__(self, name: str, command: list[str], folder: Path, port: int, **options: Any) -> None:
        super().__init__(name, command, folder, **options)
        self.port = port

    def is_ready(self) -> bool:
        return answers(self.port)


class Redis(Server):
    """Keeps nothing on disk: what it held is gone with it."""

    def __init__(self, folder: Path) -> None:
        self.url = f"redis://127.0.0.1:{(port := free_port())}/0"
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        super().__init__("redis", ["redis-server", *options, "--dir", str(folder)], folder, port)

    def client(self) -> Any:
        import redis

        return redis.Redis(port=self.port)

    def empty(self) -> None:
        self.client().flushall()


class Rabbitmq(Server):
    """A node of its own, with its own folder, cookie and ports."""

    def __init__(self, folder: Path) -> None:
        port, between = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{port}//"
        config = folder / "rabbitmq.conf"
        config.write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\nlog.console = true\n")
        own = {
            "RABBITMQ_NODENAME": f"faults{port}@localhost",
            "RABBITMQ_DIST_PORT": str(between),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -setcookie faults",
            "HOME": str(folder),
        }
        _give("rabbitmq", folder)
        command = ["/usr/lib/rabbitmq/bin/rabbitmq-server"]
        super().__init__("rabbitmq", command, folder, port, env=os.environ | own, user="rabbitmq")

    def empty(self) -> None:
        from kombu import Connection

        with Connection(self.url) as connection:
            connection.default_channel.queue_purge("celery")


class Postgres(Server):
    """A cluster in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{port}/shop"
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        _give("postgres", folder)
        options = ["-D", str(self.data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"]
        # Processes are killed here, not the machine: what was written needs no disk to outlive them.
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
        """End all of its processes at once, without a checkpoint: it recovers at the next start."""
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
        # Its processes lead sessions of their own, so that no signal to a group reaches them.
        family = [self.pid, *children(self.pid)]
        family += [grandchild for child in family[1:] for grandchild in children(child)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Mariadb(Server):
    """A server with a folder of its own, that lets everybody in from this machine."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"mariadb://root@127.0.0.1:{port}/shop"
        _give("mysql", folder)
        data, user = f"--datadir={folder / 'data'}", "mysql" if os.getuid() == 0 else ""
        install = ["mariadb-install-db", "--no-defaults", data, "--skip-test-db"]
        Part("install", install, folder, user=user).run_to_its_end()
        own = [data, f"--port={port}", f"--socket={folder / 'socket'}", "--bind-address=127.0.0.1"]
        # As for PostgreSQL: what was written needs no disk to outlive a killed process.
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


def python_part(
    name: str, arguments: list[str], folder: Path, env: Mapping[str, str], ready: str = ""
) -> Part:
    """A Python process of the project, ready when it has logged *ready*."""

    class PythonPart(Part):
        def start(self, *, wait: bool = True) -> None:
            self.seen = len(self.text())
            super().start(wait=wait)

        def is_ready(self) -> bool:
            return self.runs and ready in self.text()[self.seen :]

    return PythonPart(name, [sys.executable, *arguments], folder, env=env)


def _give(user: str, folder: Path) -> None:
    if os.getuid() == 0:
        shutil.chown(folder, user)
        folder.chmod(0o755)
