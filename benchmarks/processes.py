"""The processes that are measured: how they are started and ended, and what they cost by /proc."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
#: gunicorn's default kind of worker. It answers one request at a time, so no other thread disturbs the CPU time, and
#: whichever worker is free takes the next connection, so both have the same share.
WEB_WORKERS = 2
#: How long a process may take to start.
START_SECONDS = 60
#: How long it may take to end.
STOP_SECONDS = 10


class Process:
    """A process with its children."""

    def __init__(self, command: list[str], environment: dict[str, str], **options: Any) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, **environment},
            start_new_session=True,
            **options,
        )

    def family(self) -> list[int]:
        found = [self.popen.pid]
        for pid in found:
            found.extend(_children(pid))
        return found

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its processes, of children that have ended as well."""
        return cpu_seconds(self.family())

    def memory_bytes(self) -> int:
        return sum(_resident(pid) for pid in self.family())

    def threads(self) -> int:
        return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.family())

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        self.thaw()
        self.popen.terminate()  # it ends its children itself
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()


class Web(Process):
    """gunicorn with one of the projects."""

    def __init__(self, project: str, environment: dict[str, str] | None = None) -> None:
        self.port = free_port()
        command = ["gunicorn", f"benchmarks.{project}.wsgi:application", "--workers", str(WEB_WORKERS)]
        command += ["--bind", f"127.0.0.1:{self.port}", "--log-level", "warning"]
        super().__init__(command, {**settings_of(project), **(environment or {})})
        wait_for(self.port, self.popen)


class ASGI(Process):
    """uvicorn, one process, with our project."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.port = free_port()
        command = ["uvicorn", "benchmarks.ours.asgi:application", "--port", str(self.port)]
        command += ["--log-level", "error", "--backlog", "8192", "--lifespan", "off"]
        super().__init__(command, {**settings_of("ours"), **environment})
        wait_for(self.port, self.popen)


class Worker(Process):
    """A Celery worker with one prefork process, for the default queue of its project."""

    def __init__(self, project: str, environment: dict[str, str]) -> None:
        command = ["celery", "-A", f"benchmarks.{project}", "worker", "-c", "1", "-l", "ERROR"]
        command += ["-n", f"{project}@bench", "--without-gossip", "--without-mingle"]
        # Celery warns of root, who runs many a machine for tests.
        environment = {**settings_of(project), "PYTHONWARNINGS": "ignore::UserWarning", **environment}
        super().__init__(command, environment, stdout=subprocess.DEVNULL)


def settings_of(project: str) -> dict[str, str]:
    return {"DJANGO_SETTINGS_MODULE": f"benchmarks.{project}.settings"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int, popen: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if popen.poll() is not None:
            raise SystemExit(f"{popen.args} has ended with {popen.returncode}.")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit(f"{popen.args} did not start in {START_SECONDS} s.")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the user and system time of these processes and of their children that have ended."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            # The name, which may hold spaces, ends with the last bracket.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    return []


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    return 0
