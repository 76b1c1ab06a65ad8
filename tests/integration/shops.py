"""The demo of the shop as a process: database, web server and worker."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from example_project.shop.seed import ACCOUNTS

__all__ = ["ROOT", "TOKEN", "open_shop"]

ROOT = Path(__file__).resolve().parents[2]
#: The credentials of alice.
TOKEN = f"Token {ACCOUNTS[0].token}"


@contextmanager
def open_shop(environment: dict[str, str], folder: Path) -> Iterator[str]:
    """Run `manage.py demo` on a free port, with its log in *folder*. Give its address."""
    log = folder / "shop.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--port", "0"],
            cwd=ROOT,
            env=environment | {"PYTHONUNBUFFERED": "1", "MEDIA_ROOT": str(folder / "media")},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if address := re.search(r"is open: .*?(http://[\d.]+:\d+)", line):
                yield address[1]
                break
        else:
            pytest.fail(f"The shop did not open: {log.read_text()}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
