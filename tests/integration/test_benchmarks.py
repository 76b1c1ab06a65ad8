"""Each benchmark that needs servers still works. It is called as its page says, with little to do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.pairs import FIGURES
from benchmarks.postgres import programs
from tests.servers import do_without

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.programs]


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
    # RabbitMQ is not the broker of this run. A worker that keeps its connection shows that the other one works, too.
    figures = sorted(FIGURES.keys() - {"relay-rabbitmq", "jobs"})
    found = rows("pairs", *figures, "--rounds", "1", "--seconds", "0.2", "--count", "10")
    assert all(row["ours"] for row in found)
    assert len({row["figure"] for row in found}) >= len(figures)


def test_pairs_with_noise(rows):
    found = rows("pairs", "accept", "--noise", "--rounds", "2", "--seconds", "0.2")
    assert all(len(row["ratio"]) == 3 for row in found if row["measure"] == "requests/s")


def test_streams(rows):
    if programs() is None:
        do_without("needs PostgreSQL's server programs")
    found = rows("streams", "--streams", "8", "--seconds", "1", "--changes", "4", "--at-once", "8")
    figures = {(row["figure"], row["measure"]): row["median"] for row in found}
    assert figures["8 streams", "opened"] == 8
    assert figures["8 streams", "events told"] == 4
    assert figures["8 streams at once", "opened"] == 8


def test_growth(rows):
    found = rows("growth", "--sizes", "300", "600", "--made", "200", "--rounds", "1", "--calls", "2")
    assert {row["figure"].rpartition(", ")[2] for row in found} == {"300", "600"}


def test_purge(rows):
    found = rows("purge", "--jobs", "300", "--count", "120", "--results", "20", "--rounds", "1")
    assert len(found) == 6
    assert all(row["median"] > 0 for row in found)


def test_notices(rows):
    found = rows("notices", "--seconds", "2", "--threads", "8")
    told = {row["figure"]: row["median"] for row in found if row["measure"] == "told"}
    assert len(told) == 4
    assert set(told.values()) == {1}


def test_profiles():
    command = [sys.executable, "-m", "benchmarks.profiles", "--calls", "2", "--rows", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert "claim and finish: " in done.stdout, done.stderr
