"""Each benchmark still works. It is called as the docs say, with few jobs, on the database of this run."""

import subprocess
import sys
from pathlib import Path

import pytest

from async_accept.models import Job
from async_accept.states import State

ROOT = Path(__file__).parent.parent


@pytest.fixture
def call(child_environment):
    """Call a benchmark; without ``DJANGO_SETTINGS_MODULE`` it uses the example project's settings."""
    environment = {k: v for k, v in child_environment.items() if k != "DJANGO_SETTINGS_MODULE"}

    def call(name: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return call


@pytest.fixture
def jobs(call):
    """Make 400 jobs by the benchmark itself."""
    done = call("make_jobs", "--count", "400", "--days", "3")
    assert done.returncode == 0, done.stderr


def test_make_jobs(jobs):
    assert Job.objects.count() == 400
    assert set(Job.objects.values_list("state", flat=True)) == set(State.values)


def test_admin_pages(jobs, call):
    done = call("admin_pages", "--calls", "1")
    pages = done.stdout.splitlines()
    assert "dashboard" in pages[-1], done.stderr  # the last one
    slow = [line for line in pages if line.endswith("too slow")]
    assert done.returncode == bool(slow)


def test_every_benchmark_has_a_test():
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"__init__"}
    assert {f"test_{name}" for name in names} <= globals().keys()
