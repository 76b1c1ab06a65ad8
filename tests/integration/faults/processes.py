"""The parts of an installation: processes that a test can kill, freeze and restart."""

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

__all__ = ["Part", "Server", "children", "free_port", "give", "python_part", "until"]

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
    """Call *condition* until it returns something true, and return that. Fail after *seconds*."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s{' for ' + what if what else ''}, in vain")
        time.sleep(pause)
    return value


class Part:
    """A process and its children, in a process group of their own.

    Args:
        user: runs as this user if the tests run as root, because servers refuse to run as root.
    """

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
        self.user = user if user and os.getuid() == 0 else None
        self.folder = folder
        self.env = dict(os.environ if env is None else env)
        if self.user:
            self.env["TMPDIR"] = str(folder)  # the user may not be allowed to write to root's
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
        """Kill all processes of this part, as a power cut does."""
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
        """Return the ids of the processes that this part has started."""
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
    """A part that listens on a port."""

    def __init__(self, name: str, command: list[str], folder: Path, port: int, **options: Any) -> None:
        super().__init__(name, command, folder, **options)
        self.port = port

    def is_ready(self) -> bool:
        return answers(self.port)


def python_part(
    name: str, arguments: list[str], folder: Path, env: Mapping[str, str], ready: str = ""
) -> Part:
    """Return a Python process of the project. It is ready after it has logged *ready*."""

    class PythonPart(Part):
        def start(self, *, wait: bool = True) -> None:
            self.seen = len(self.text())
            super().start(wait=wait)

        def is_ready(self) -> bool:
            return self.runs and ready in self.text()[self.seen :]

    return PythonPart(name, [sys.executable, *arguments], folder, env=env)


def give(user: str, folder: Path) -> None:
    """Make *user* the owner of the folder, if the tests run as root."""
    if os.getuid() == 0:
        shutil.chown(folder, user)
        folder.chmod(0o755)
