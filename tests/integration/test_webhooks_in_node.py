"""Servers in Node take our notices over HTTP: with npm's ``standardwebhooks``, and with the example of the docs."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from async_accept import signals
from async_accept.models import Job
from async_accept.testing import make_job
from async_accept.webhooks.models import Delivery, Endpoint
from async_accept.webhooks.notices import tell_of_end
from async_accept.webhooks.signing import new_secret
from tests import servers
from tests.webhooks.conftest import LOCAL, come_back_later, send_due

PACKAGE = "standardwebhooks@1"
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "receive.js"
RECEIVER = """
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";
import { verified } from "./receive.js";
const secret = process.argv[2];
const WAYS = {
  "/package": (body, headers) => new Webhook(secret).verify(body, headers),
  "/example": (body, headers) => { if (!verified(body, headers, [secret])) throw new Error("not verified"); },
};
const server = createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray());
  try {
    WAYS[request.url](body, request.headers);
    response.statusCode = 204;
  } catch {
    response.statusCode = 401;
  }
  response.end();
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``standardwebhooks``, fetched by npm."""
    if not servers.required():
        pytest.skip("asks npm for a package: set ASYNC_ACCEPT_REQUIRE_SERVERS=1")
    if not (shutil.which("node") and shutil.which("npm")):
        servers.do_without("needs node and npm")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        servers.do_without(f"npm cannot get {PACKAGE}: {done.stderr[-200:]}")
    (folder / "receive.js").write_text(EXAMPLE.read_text())
    (folder / "receiver.js").write_text(RECEIVER)
    return folder


@pytest.fixture(scope="module")
def secret() -> str:
    return new_secret()


@pytest.fixture(scope="module")
def address(folder: Path, secret: str) -> Iterator[str]:
    """Where the receiver listens."""
    command = ["node", "receiver.js", secret]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


@pytest.mark.programs
@pytest.mark.django_db
@pytest.mark.parametrize("way", ["package", "example"])
def test_node_verifies_our_notices(address: str, secret: str, way: str, alice: Any, settings: Any) -> None:
    settings.ASYNC_ACCEPT = LOCAL
    signals.job_ending.connect(tell_of_end, sender=Job)  # tests/conftest.py has cut it off
    endpoint = Endpoint.objects.create(owner=alice, url=f"{address}/{way}", secret=new_secret())
    make_job(owner=alice, state="succeeded", operation="orders.größer")
    send_due()
    [delivery] = Delivery.objects.all()
    assert (delivery.state, delivery.outcome) == ("waiting", "4xx")  # signed with another secret
    Endpoint.objects.filter(pk=endpoint.pk).update(secret=secret)
    assert endpoint.rotate()  # two signatures, of which the second is the one that the receiver knows
    come_back_later()
    send_due()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.outcome) == ("delivered", "2xx")
