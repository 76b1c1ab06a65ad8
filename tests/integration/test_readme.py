"""The README's commands that run the shop on servers, with the servers of this run."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from celery import current_app

from example_project.shop.seed import ACCOUNTS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.rst").read_text()
SECONDS = 60

# Only with Redis, as in the README. There this run has a database of its own, and so a queue of its own.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.fixture
def shop(child_environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """Run the commands in a shell, except the one that names the servers. Yield the shop's address."""
    lines = re.search(r"^   \$ export DATABASE_URL.*\n((?:   \$ .*\n)+)", README, re.MULTILINE)[1]
    script = lines.replace("   $ ", "").replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {k: v for k, v in child_environment.items() if k != "DJANGO_SETTINGS_MODULE"}
    environment |= {"GUNICORN_CMD_ARGS": f"--bind {address}", "MEDIA_ROOT": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        shell = subprocess.Popen(
            ["sh", "-ec", script], cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        yield f"http://{address}"
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    with current_app.connection_for_write() as connection:
        connection.default_channel.queue_delete("celery")


def test_the_commands_run_the_shop_with_a_worker(shop: str, tmp_path: Path):
    headers = {"Authorization": f"Token {ACCOUNTS[0].token}"}
    order = {"lines": [{"sku": "TEA-ASSAM", "quantity": 2}]}
    deadline = time.monotonic() + SECONDS

    def send(method: str, url: str, **body: object) -> requests.Response | None:
        try:
            return requests.request(method, url, headers=headers, timeout=20, **body)
        except requests.ConnectionError:
            return None  # the server has not started yet

    while (response := send("POST", f"{shop}/api/orders/", json=order)) is None:
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.2)
    while response.status_code == 202:
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        response = send("GET", response.headers["Location"])
        time.sleep(0.2)
    assert (response.status_code, response.json()["status"]) == (201, "placed"), response.text
