"""Servers that run as processes of their own."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["running"]

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def running(command: list[str], environment: dict[str, str], sign: str) -> Iterator[str]:
    """Run *command* and give the address that it prints after *sign*, a regular expression."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if address := re.search(sign + r"(http://[\d.]+:\d+)", line):
            yield address[1]
            break
    else:
        pytest.fail(f"{command} did not start: {''.join(said)}")
    process.kill()
    process.wait()
    process.stdout.close()
