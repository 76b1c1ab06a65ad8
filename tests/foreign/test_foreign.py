import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What the child sets itself, or must not take from this run.
OWN = re.compile(r"PYTEST_|DJANGO_SETTINGS_MODULE$|CELERY_BROKER_URL$|ASYNC_ACCEPT_TEST_DIR$")


@pytest.mark.programs
def test_foreign_project() -> None:
    """In a process of its own, since its user model and its databases are its own."""
    options = [
        "-q",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:async_accept",
        "-o",
        "addopts=",
        "--tb=native",
        "-r",
        "fE",
    ]
    command = [sys.executable, "-m", "pytest", *options, "--ds", "tests.foreign.settings"]
    finished = subprocess.run(
        [*command, "tests/foreign/cases"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not OWN.match(name)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert finished.returncode == 0, finished.stdout[-20_000:] + finished.stderr[-2_000:]
