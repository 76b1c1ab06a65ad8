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

from example_project.shop.seed import ACCOUNTS

ROOT = Path(__file__).resolve().parents[2]


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "CELERY_"))
    }
    environment |= {"DATABASE_URL": f"sqlite:///{tmp_path}/shop.sqlite3", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "manage.py", "demo", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture
def demo(tmp_path) -> Iterator[subprocess.Popen[str]]:
    process = start(tmp_path, "--port", "0")
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def read_welcome(demo: subprocess.Popen[str]) -> str:
    """Read until the last of the printed lines."""
    text = ""
    for line in demo.stdout:
        text += line
        if "202.txt | tr" in line:
            break
    return text


def test_demo_takes_an_order_and_ends_with_ctrl_c(demo):
    welcome = read_welcome(demo)
    assert all(account.token in welcome for account in ACCOUNTS)
    readme = (ROOT / "README.rst").read_text()
    follow = re.search(r"^   \$ (curl -i -H 'Prefer.*)$", readme, re.MULTILINE)[1]
    assert follow in welcome
    url = re.search(r"http://127\.0\.0\.1:\d+", welcome).group()
    headers = {"Authorization": f"Token {ACCOUNTS[0].token}"}

    accepted = requests.post(
        f"{url}/api/orders/",
        json={"lines": [{"sku": "TEA-ASSAM", "quantity": 2}]},
        headers=headers,
        timeout=10,
    )
    assert accepted.status_code == 202
    deadline = time.monotonic() + 30
    while (
        result := requests.get(accepted.headers["Location"], headers=headers, timeout=10)
    ).status_code == 202:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert result.status_code == 201
    assert requests.get(f"{url}/static/admin/css/base.css", timeout=10).status_code == 200

    demo.send_signal(signal.SIGINT)
    assert demo.wait(timeout=10) == 0


def test_busy_port_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(tmp_path, "--port", str(port))
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"Port {port} is in use" in output
    assert not (tmp_path / "shop.sqlite3").exists()
