"""Each benchmark that needs servers still works. It is called as its page says, with little to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.pairs import FIGURES
from benchmarks.postgres import programs
from tests.servers import do_without

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.programs]


def of_another_server(variable: str) -> str:
    """Return the URL of a server that is not the one of this run."""
    return os.environ.get(variable) or do_without(f"needs another server: set {variable}")


@pytest.fixture
def rows(tmp_path):
    """Call a benchmark, and return the rows that it has written."""

    def rows(name: str, *options: str):
        output = tmp_path / "output.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", *options, "--output", str(output)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(output.read_text())["rows"]

    return rows


def test_pairs(rows):
    # A worker that keeps its connection shows that the other one works, too.
    figures = sorted(FIGURES.keys() - {"relay-rabbitmq", "jobs"})
    found = rows("pairs", *figures, "--rounds", "1", "--seconds", "0.2", "--count", "10")
    assert all(row["ours"] for row in found)
    assert len({row["figure"] for row in found}) >= len(figures)


def test_a_relay_that_waits_for_confirms(rows, monkeypatch):
    monkeypatch.setenv("BENCH_RABBITMQ_URL", of_another_server("RABBITMQ_URL"))
    found = rows("pairs", "relay-rabbitmq", "--rounds", "1", "--count", "10")
    assert {row["measure"] for row in found} == {"rows/s", "CPU a row"}


def test_noise_has_ratios_and_nothing_else(rows):
    found = rows("pairs", "accept", "--noise", "--rounds", "2", "--seconds", "0.2")
    assert {"requests/s", "server CPU a request"} <= {row["measure"] for row in found}
    assert all(len(row["ratio"]) == 3 and not row["goal"] for row in found)


def test_what_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    command = [sys.executable, "-m", "benchmarks.pairs", "accept"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == "No broker answers at 127.0.0.1:1: OperationalError"


def test_streams(rows):
    if programs() is None:
        do_without("needs PostgreSQL's server programs")
    found = rows(
        *("streams", "--streams", "8", "--seconds", "1", "--changes", "4"),
        *("--at-once", "8", "--rounds", "1"),
    )
    figures = {(row["figure"], row["measure"]): row["median"] for row in found}
    assert figures["8 streams", "opened"] == 8
    assert figures["8 streams", "events told"] == 4
    assert figures["8 streams at once", "opened"] == 8


def test_growth(rows):
    found = rows("growth", "--sizes", "300", "600", "--made", "200", "--rounds", "1", "--calls", "2")
    assert {row["figure"].rpartition(", ")[2] for row in found} == {"300", "600"}


def test_growth_on_mariadb(rows, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", of_another_server("MARIADB_URL"))
    found = rows("growth", "--sizes", "300", "--rounds", "1", "--calls", "2")
    assert {row["figure"].rpartition(", ")[2] for row in found} == {"300"}


def test_purge(rows):
    found = rows("purge", "--jobs", "4000", "--count", "120", "--results", "20", "--rounds", "1")
    assert len(found) == 6
    assert all(row["median"] > 0 for row in found)


def test_notices(rows):
    found = rows("notices", "--seconds", "2", "--threads", "8")
    told = {row["figure"]: row["median"] for row in found if row["measure"] == "told"}
    assert len(told) == 4
    assert set(told.values()) == {1}


@pytest.mark.parametrize("project", ["ours", "handwritten"])
def test_profiles(project):
    command = [
        sys.executable,
        "-m",
        "benchmarks.profiles",
        "--calls",
        "2",
        "--rows",
        "3",
        "--project",
        project,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert "claim and finish: " in done.stdout, done.stderr
