"""The example project as it would be installed: web, two workers, a relay, and servers of the suite's own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from .processes import ROOT, Mariadb, Part, Postgres, Rabbitmq, Redis, Server, free_port, python_part

__all__ = ["QUICK", "Installation", "installed"]

#: Short times, so that a test need not wait for long.
QUICK = {
    "LEASE": 3.0,
    "HEARTBEAT": 0.5,
    "RELAY_INTERVAL": 0.5,
    "DISPATCH_STEP": 2.0,
    "BROKER_PAUSE": 2.0,
}
TOKEN = "faults0123456789faults0123456789faults01"
SEED = f"""
from django.contrib.auth import get_user_model
from rest_framework.authtoken.models import Token
user = get_user_model().objects.create_user("faults")
Token.objects.create(user=user, key="{TOKEN}")
"""
#: Answers each line with a line of JSON.
EXAMINER = """
import django; django.setup()
import json, sys
from django.db import connections
from async_accept.checks.invariants import violations
from datetime import timedelta
for line in sys.stdin:
    connections.close_all()
    found = violations(timedelta(seconds=float(line)))
    print(json.dumps([str(violation) for violation in found]), flush=True)
"""
RELAY = """
import django; django.setup()
import logging; logging.basicConfig(level="INFO")
from async_accept.jobs.relay import Relay
logging.getLogger("async_accept").info("relay ready")
Relay().run()
"""


class Web(Server):
    """Ready when it answers: it listens long before its workers have loaded the project."""

    def is_ready(self) -> bool:
        try:
            return bool(requests.get(f"http://127.0.0.1:{self.port}/api/jobs/", timeout=2).status_code)
        except requests.RequestException:
            return False


class Installation:
    """All parts, not yet started.

    Args:
        times: durations of the package in seconds; none for its defaults.
        broker: "redis" or "rabbitmq".
        database: "postgres" or "mariadb".
        processes: of each worker's pool.
    """

    def __init__(
        self,
        folder: Path,
        times: dict[str, float] | None = None,
        broker: str = "redis",
        database: str = "postgres",
        processes: int = 2,
    ) -> None:
        self.folder = folder
        self.processes = processes
        self.times = times or {}
        self.effects = folder / "effects.txt"
        self.database: Any = (Postgres if database == "postgres" else Mariadb)(self._folder(database))
        self.broker: Server = (Redis if broker == "redis" else Rabbitmq)(self._folder(broker))  # type: ignore[assignment]
        self.env = self._env()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        gunicorn = ["-m", "gunicorn", "example_project.wsgi", "--bind", f"127.0.0.1:{port}"]
        shape = ["--workers", "2", "--threads", "4", "--timeout", "60", "--no-control-socket"]
        self.web = Web("web", [sys.executable, *gunicorn, *shape], folder, port, env=self.env)
        self.workers = [self.worker(name) for name in ("one", "two")]
        self.examiner: subprocess.Popen[str] | None = None
        self.relay = python_part("relay", ["-c", RELAY], folder, self.env, ready="relay ready")

    def worker(self, name: str, *options: str, **env: str) -> Part:
        """A worker with further options of Celery's, and further variables in its environment."""
        command = ["-m", "celery", "-A", "example_project", "worker", "-n", f"{name}@faults", "-l", "INFO"]
        # With events (-E), which carry what Celery makes of an exception to the broker.
        command += ["-E", "-c", str(self.processes), *options]
        return python_part(f"worker-{name}", command, self.folder, self.env | env, ready=" ready.")

    def prepare(self) -> None:
        """Start the servers and create the tables."""
        self.database.start(wait=False)
        self.broker.start(wait=False)
        self.database.wait_until_ready()
        maintenance = "postgres" if isinstance(self.database, Postgres) else "mysql"
        self.database.execute("CREATE DATABASE shop", database=maintenance)
        self.manage("migrate", "--verbosity", "0")
        self.manage("shell", "--verbosity", "0", "-c", SEED)
        self.broker.wait_until_ready()

    def manage(self, *arguments: str) -> str:
        return self._run("manage.py", *arguments)

    def celery(self, *arguments: str) -> str:
        return self._run("-m", "celery", "-A", "example_project", *arguments)

    def _run(self, *arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def violations(self, grace: float = 60) -> list[str]:
        """What is not as it should be, by the package's own word and by the effects of the drills.

        Args:
            grace: how many seconds late the relays may be.
        """
        return [*self._by_its_own_word(grace), *self._effects_that_are_no_successes()]

    def _effects_that_are_no_successes(self) -> list[str]:
        """A success has its effect once, and what failed or was canceled has none."""
        drills = "SELECT input, state FROM async_accept_job WHERE operation = 'drills.create'"
        ended = f"{drills} AND finished_at IS NOT NULL"
        effects = Counter(
            key for (key,) in self.database.execute("SELECT drills_effect.key FROM drills_effect")
        )
        wrong = []
        for stored, state in self.database.execute(ended):
            key = json.loads(stored)["key"]
            if effects[key] != (state == "succeeded"):
                wrong.append(f"{key} is {state} with {effects[key]} effects")
        return wrong

    def _by_its_own_word(self, grace: float) -> list[str]:
        if self.examiner is None:
            self.examiner = subprocess.Popen(
                [sys.executable, "-c", EXAMINER],
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self.examiner.stdin is not None
        assert self.examiner.stdout is not None
        self.examiner.stdin.write(f"{grace}\n")
        self.examiner.stdin.flush()
        return list(json.loads(self.examiner.stdout.readline()))

    def parts(self) -> list[Part]:
        return [self.web, *self.workers, self.relay, self.broker, self.database]

    def stop(self) -> None:
        for part in self.parts():
            if part.runs:
                part.kill()
        if self.examiner is not None:
            self.examiner.kill()
            self.examiner.wait()

    def _folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder

    def _env(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNC_ACCEPT_", "CELERY_"))}
        chosen = {f"ASYNC_ACCEPT_{name}_SECONDS": str(seconds) for name, seconds in self.times.items()}
        return {
            **inherited,
            **chosen,
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DATABASE_URL": self.database.url,
            "CELERY_BROKER_URL": self.broker.url,  # type: ignore[attr-defined]
            "CONN_MAX_AGE": "60",
            "DEBUG": "0",
            "DRILLS": "1",
            "TROUBLEMAKER": "1",
            "EFFECTS_FILE": str(self.effects),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }


@contextmanager
def installed(
    times: dict[str, float] | None = None,
    broker: str = "redis",
    database: str = "postgres",
    processes: int = 2,
) -> Iterator[Any]:
    """Yield a prepared installation, and remove every trace of it afterwards."""
    # Servers that do not run as root must be able to enter it, so not in a private TMPDIR.
    folder = Path(tempfile.mkdtemp(prefix="async-accept-faults-", dir="/tmp"))
    folder.chmod(0o755)
    installation = Installation(folder, times, broker, database, processes)
    try:
        installation.prepare()
        yield installation
    finally:
        installation.stop()
        if not os.environ.get("KEEP_FAULTS"):
            shutil.rmtree(folder, ignore_errors=True)
