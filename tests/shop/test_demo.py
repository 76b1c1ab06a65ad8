"""The demo, and the lines of the README and of the tour that its readers type."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import NamedTuple

import pytest
from django.core.management import CommandError

from example_project.shop.management.commands.demo import _listen
from example_project.shop.seed import ACCOUNTS
from tests.test_readme import ENVIRONMENT, README, ROOT, agrees, curl_lines

pytestmark = pytest.mark.programs


def run(command, folder):
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60)
    return done.stdout.replace("\r\n", "\n")


def run_until(command, folder, status):
    """What *command* prints once it is answered *status*: a busy machine may need longer than a reader's."""
    for _ in range(120):
        got = run(command, folder)
        if got.startswith(f"HTTP/1.1 {status}"):
            break
        time.sleep(0.5)
    return got


class Demo(NamedTuple):
    #: Host and port.
    address: str
    #: What it prints.
    welcome: str


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Start the demo on a free port with a fresh database; end it with Ctrl-C."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    database = f"sqlite:///{tmp_path_factory.mktemp('demo')}/shop.sqlite3"
    options = {"GATEWAY_SECONDS": "0", "PRICING_SECONDS": "0", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "demo", "--port", "0"],
        env=ENVIRONMENT | options | {"DATABASE_URL": database},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        welcome = ""
        for line in process.stdout:
            welcome += line
            if "202.txt | tr" in line:  # the last line
                break
        yield Demo(re.search(r"http://([^/]+)/", welcome)[1], welcome)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def demo(started):
    return started.address


@pytest.fixture
def folder(tmp_path):
    """The folder in which a reader types, with the files that the lines name."""
    (tmp_path / "example_project").symlink_to(ROOT / "example_project")
    return tmp_path


def test_the_demo_prints_its_accounts_and_the_line_of_the_readme(started):
    assert all(account.token in started.welcome for account in ACCOUNTS)
    assert curl_lines()[1][0] in started.welcome


def test_the_demo_serves_static_files(demo, tmp_path):
    assert run(f"curl -sI http://{demo}/static/admin/css/base.css", tmp_path).startswith("HTTP/1.1 200")


def test_curl_lines_give_the_answers_that_are_printed(demo, folder):
    lines = curl_lines()
    assert len(lines) == 3
    for command, answer in lines:
        status = answer.split()[1]
        got = run_until(command.replace("127.0.0.1:8000", demo), folder, status)
        assert agrees(got, answer.replace("127.0.0.1:8000", demo)), f"{command}\n\nprints\n\n{got}"

    got = run_until(lines[1][0], folder, 200)
    assert got.startswith("HTTP/1.1 200")
    outcome = re.search(r'^   (\{"summary":.*\}),\.\.\.$', README, re.MULTILINE)[1]
    assert outcome in got


def test_the_tour_leads_where_it_says(demo, folder):
    tour = (ROOT / "docs" / "tutorials" / "shop-tour.rst").read_text()
    lines = [line.replace("127.0.0.1:8000", demo) for line in re.findall(r"^   \$ (.+)$", tour, re.MULTILINE)]
    account = next(line for line in lines if line.startswith("ALICE="))

    def ask(what, status):
        line = next(line for line in lines if line.startswith("curl") and what in line)
        got = run_until(f"{account}; {line}", folder, status)
        assert got.startswith(f"HTTP/1.1 {status}"), f"{line}\n\nprints\n\n{got}"
        return got

    ask("200000", 202)
    assert '"operation":"reports.create"' in ask("[Oo]peration-[Ll]ocation", 200)
    ask("Prefer: wait", 200)
    first, again = ask("tour-1", 202), ask("tour-1", 202)
    assert re.search("Location: (.*)", first)[1] == re.search("Location: (.*)", again)[1]
    lines = [line.replace('"quantity": 1}]}', '"quantity": 2}]}') for line in lines]
    ask("tour-1", 422)
    ask("T-1", 400)


def test_busy_port_is_named(tmp_path):
    environment = ENVIRONMENT | {"DATABASE_URL": f"sqlite:///{tmp_path}/shop.sqlite3"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "manage.py", "demo", "--port", port]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"Port {port} is in use" in done.stdout + done.stderr
    assert not (tmp_path / "shop.sqlite3").exists()


@pytest.mark.parametrize("port", [99999, -1])
def test_the_demo_knows_what_is_no_port(port):
    with pytest.raises(CommandError, match=rf"^{port} is no port"):
        _listen("127.0.0.1", port)
