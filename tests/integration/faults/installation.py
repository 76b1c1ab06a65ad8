"""The example project as an installation: web, two workers, a relay, a broker and a database."""

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

from .brokers import Rabbitmq, Redis
from .databases import Mariadb, Postgres
from .processes import ROOT, Part, Server, free_port, python_part

__all__ = ["QUICK", "Installation", "installed"]

#: Short times in seconds, so that tests do not wait for long.
QUICK = {
    "LEASE": 3.0,
    "HEARTBEAT": 0.5,
    "RELAY_INTERVAL": 0.5,
    "REPUBLISH_AFTER": 2.0,
}
TOKEN = "faults0123456789faults0123456789faults01"
SEED = f"""
from django.contrib.auth import get_user_model
from rest_framework.authtoken.models import Token
user = get_user_model().objects.create_user("faults")
Token.objects.create(user=user, key="{TOKEN}")
"""
#: Reads a grace time in seconds from each line, and prints the broken invariants as a line of JSON.
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
    """gunicorn. It listens long before it can answer, so it is ready after its first response."""

    def is_ready(self) -> bool:
        try:
            return bool(requests.get(f"http://127.0.0.1:{self.port}/api/jobs/", timeout=2).status_code)
        except requests.RequestException:
            return False


class Installation:
    """All parts of an installation.

    Args:
        times: durations of async_accept in seconds. None: the defaults.
        broker: "redis" or "rabbitmq".
        database: "postgres" or "mariadb".
        processes: how many processes each worker's pool has.
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
        # Clients keep their connections for longer than gunicorn's 2 s; a request must not meet the moment of its end.
        shape = ["--workers", "2", "--threads", "4", "--timeout", "60", "--keep-alive", "75"]
        shape.append("--no-control-socket")
        self.web = Web("web", [sys.executable, *gunicorn, *shape], folder, port, env=self.env_of("web"))
        self.workers = [self.worker(name) for name in ("one", "two")]
        self.examiner: subprocess.Popen[str] | None = None
        self.relay = python_part("relay", ["-c", RELAY], folder, self.env_of("relay"), ready="relay ready")

    def worker(self, name: str, *options: str, **env: str) -> Part:
        """Return a worker with more command line options, and more environment variables."""
        command = [
            *self.celery_of(name),
            "-A",
            "example_project",
            "worker",
            "-n",
            f"{name}@faults",
            "-l",
            "INFO",
        ]
        # -E: send events. They contain what Celery makes of an exception.
        command += ["-E", "-c", str(self.processes), *options]
        own = self.env_of(f"worker-{name}") | env
        return python_part(f"worker-{name}", command, self.folder, own, ready=" ready.")

    def env_of(self, part: str) -> dict[str, str]:
        """Return the environment variables of the web processes, of a worker or of the relay."""
        return self.env

    def celery_of(self, worker: str) -> list[str]:
        """Return the arguments that make a Python process Celery."""
        return ["-m", "celery"]

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
        """Return the invariants of async_accept that do not hold, and the drills with a wrong number of effects.

        Args:
            grace: how many seconds late the relays may be.
        """
        return [*self._broken_invariants(grace), *self._wrong_effects()]

    def _wrong_effects(self) -> list[str]:
        """Return the drills that succeeded without exactly one effect, or ended otherwise with one."""
        drills = "SELECT id, state FROM async_accept_job WHERE operation = 'drills.create'"
        jobs = "SELECT job FROM drills_effect WHERE job IS NOT NULL"
        effects = Counter(str(job) for (job,) in self.database.execute(jobs))
        return [
            f"{job} is {state} with {effects[str(job)]} effects"
            for job, state in self.database.execute(f"{drills} AND finished_at IS NOT NULL")
            if effects[str(job)] != (state == "succeeded")
        ]

    def _broken_invariants(self, grace: float) -> list[str]:
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
            "DJANGO_SETTINGS_MODULE": "tests.integration.faults.settings",
            "DISK_IS_FULL": str(self.folder / "disk-is-full"),
            "DATABASE_URL": self.database.url,
            "CELERY_BROKER_URL": self.broker.url,  # type: ignore[attr-defined]
            "CONN_MAX_AGE": "60",
            "DEBUG": "0",
            "DRILLS": "1",
            "TROUBLEMAKER": "1",
            "EFFECTS_FILE": str(self.effects),
            "MEDIA_ROOT": str(self.folder / "media"),
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
    kind: "type[Installation]" = Installation,
) -> Iterator[Any]:
    """Yield an installation whose parts can be started. Stop it afterwards, and remove its files."""
    # In /tmp, and open to others, because the servers do not run as root.
    folder = Path(tempfile.mkdtemp(prefix="async-accept-faults-", dir="/tmp"))
    folder.chmod(0o755)
    installation = kind(folder, times, broker, database, processes)
    try:
        installation.prepare()
        yield installation
    finally:
        installation.stop()
        if not os.environ.get("KEEP_FAULTS"):
            shutil.rmtree(folder, ignore_errors=True)
