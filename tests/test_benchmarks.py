"""Each benchmark that needs no server still works. It is called as the docs say, with few jobs, on this run's database.

The others are in ``tests/integration/test_benchmarks.py``.
"""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection

from async_accept.models import Job
from async_accept.states import State

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parent.parent


@pytest.fixture
def copy(transactional_db, tmp_path):
    """A copy of an SQLite database; None for a server.

    The process that closes a database last removes the files beside it, and those of this run are in use.
    """
    if connection.vendor != "sqlite":
        return None
    path = tmp_path / "copy.sqlite3"
    connection.ensure_connection()
    with closing(sqlite3.connect(path)) as copied:
        connection.connection.backup(copied)
    return path


@pytest.fixture
def call(child_environment, copy):
    """Call a benchmark; without ``DJANGO_SETTINGS_MODULE`` it uses the example project's settings."""
    environment = {k: v for k, v in child_environment.items() if k != "DJANGO_SETTINGS_MODULE"}
    if copy is not None:
        environment["DATABASE_URL"] = f"sqlite:///{copy}"

    def call(name: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return call


@pytest.fixture
def jobs(call, copy):
    """Make 400 jobs by the benchmark itself, and return their states."""
    done = call("make_jobs", "--count", "400", "--days", "3")
    assert done.returncode == 0, done.stderr
    if copy is None:
        return list(Job.objects.values_list("state", flat=True))
    with closing(sqlite3.connect(copy)) as copied:
        return [state for (state,) in copied.execute("SELECT state FROM async_accept_job")]


def test_make_jobs(jobs):
    assert len(jobs) == 400
    assert set(jobs) == set(State.values)


def test_admin_pages(jobs, call):
    done = call("admin_pages", "--calls", "1")
    pages = done.stdout.splitlines()
    assert "dashboard" in pages[-1], done.stderr  # the last one
    slow = [line for line in pages if line.endswith("too slow")]
    assert done.returncode == bool(slow)


def test_every_benchmark_has_a_test():
    programs = (ROOT / "benchmarks").glob("*.py")
    commands = {path.stem for path in programs if "options_parser(__doc__)" in path.read_text()}
    assert commands
    integration = (ROOT / "tests" / "integration" / "test_benchmarks.py").read_text()
    tested = re.findall(r"^def test_(\w+)", Path(__file__).read_text() + integration, re.MULTILINE)
    assert commands <= set(tested)
