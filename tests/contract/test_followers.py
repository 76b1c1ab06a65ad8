"""The followers of the docs, and what happens on the way: small letters, 429, 503, and headers that are not there."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .test_clients import find

pytestmark = pytest.mark.programs

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

Answers = list[tuple[int, dict[str, str]]]


@pytest.fixture
def serve() -> Iterator[Callable[[Answers], tuple[str, list[str]]]]:
    """Answer one request after the other as told; the names of headers go out as they are written."""
    servers = []

    def start(answers: Answers) -> tuple[str, list[str]]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked.append(f"{self.command} {self.path}")
                status, headers = answers[len(asked) - 1]
                body = json.dumps({"answer": len(asked)}).encode()
                self.send_response(status)
                for name, text in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, text.replace("BASE", base))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        base = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        servers.append(server)
        return base, asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


PYTHON = """
import sys, requests
session = requests.Session()
session.trust_env = False
answer = follow(session, session.post(sys.argv[1], data=sys.argv[2]))
print(answer.status_code, answer.text)
"""
JAVASCRIPT = """
import { follow } from "./follow.js";
const [, , url, body] = process.argv;
const answer = await follow(await fetch(url, { method: "POST", body }));
console.log(answer.status, await answer.text());
"""


@pytest.fixture(params=["py", "js", "sh"])
def follower(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Any]:
    """Send a request by one of the followers, and follow it; return the process, which has ended."""
    kind = request.param
    text = (EXAMPLES / f"follow.{kind}").read_text()
    (tmp_path / f"follow.{kind}").write_text(text)
    if kind == "py":
        (tmp_path / "main.py").write_text(text + PYTHON)
        command = [sys.executable, "main.py"]
    elif kind == "js":
        (tmp_path / "package.json").write_text('{"type": "module"}')
        (tmp_path / "main.js").write_text(JAVASCRIPT)
        find("node")
        command = ["node", "main.js"]
    else:
        find("curl")
        command = ["sh", "follow.sh"]
    environment = os.environ | {"AUTH": "Authorization: Token t", "no_proxy": "*"}

    def follow(url: str) -> Any:
        return subprocess.run(
            [*command, url, "{}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return follow


JOB = {"location": "BASE/jobs/1/result/", "retry-after": "1"}


def test_follows_small_letters_and_goes_on(serve: Any, follower: Any) -> None:
    """Contract 3, 19: HTTP/2 writes names in small letters; 429 and 503 say that the poll comes too early."""
    base, asked = serve([(202, JOB), (503, {"retry-after": "1"}), (429, {"retry-after": "1"}), (200, {})])
    done = follower(f"{base}/orders/")
    assert done.stdout.strip() == '200 {"answer": 4}', done.stderr
    assert asked == ["POST /orders/", *["GET /jobs/1/result/"] * 3]


@pytest.mark.parametrize("status", [201, 400, 429, 503])
def test_what_was_not_accepted_is_the_answer(serve: Any, follower: Any, status: int) -> None:
    """Contract 2: nothing was stored, so there is nothing to follow."""
    base, asked = serve([(status, {"retry-after": "1"})])
    done = follower(f"{base}/orders/")
    assert done.stdout.strip() == f'{status} {{"answer": 1}}', done.stderr
    assert len(asked) == 1


@pytest.mark.parametrize("missing", JOB)
def test_fails_loudly_without_a_header(serve: Any, follower: Any, missing: str) -> None:
    """Contract 1, 3: it neither polls in a tight loop nor takes the 202 for the result."""
    base, asked = serve([(202, {name: text for name, text in JOB.items() if name != missing})])
    done = follower(f"{base}/orders/")
    assert done.returncode != 0
    assert done.stderr.strip()
    assert done.stdout == ""
    assert len(asked) == 1
