"""Clients that others have written follow our jobs unmodified (contract 1, 3, 10, 13), and so do those of the docs."""

import json
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import urllib3
from django.core.signals import request_started
from requests.adapters import HTTPAdapter

from tests import servers
from tests.contract.conftest import Client, together
from tests.testapp import contract_tasks
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)

DOCS = Path(__file__).parents[2] / "docs"


def find(program: str) -> None:
    """Go on only where *program* is installed."""
    if not shutil.which(program):
        servers.do_without(f"needs {program}")


@pytest.fixture
def later(worker: Any) -> Iterator[Any]:
    """Open these gates when each job was polled twice: so the clients find them running first."""
    closed: list[str] = []
    polls: Counter[str] = Counter()

    def open_later(*names: str) -> None:
        closed.extend(names)

    def hear(environ: dict[str, Any], **kwargs: Any) -> None:
        if environ["REQUEST_METHOD"] == "GET":
            polls[environ["PATH_INFO"]] += 1
            if closed and len(polls) == len(closed) and min(polls.values()) >= 2:
                for name in closed:
                    contract_tasks.gate(name).set()

    request_started.connect(hear)
    yield open_later
    request_started.disconnect(hear)


# --- azure-core and azure-mgmt-core, Python ----------


@pytest.fixture
def azure(alice: Client) -> Any:
    """A pipeline client of azure-core with alice's token, and a function that starts an operation and polls it."""
    core = pytest.importorskip("azure.core", reason="needs azure-core (extra: test)")
    from azure.core.pipeline.policies import HeadersPolicy, RequestIdPolicy, RetryPolicy
    from azure.core.pipeline.transport import RequestsTransport
    from azure.core.polling import LROPoller
    from azure.core.rest import HttpRequest

    class Transport(RequestsTransport):
        """Is asked for every pause: takes a short one, if it is the one that Retry-After named."""

        def sleep(self, duration: float) -> None:
            assert duration == 1
            time.sleep(0.05)

    headers = HeadersPolicy({"Authorization": alice.session.headers["Authorization"]})
    policies = [RequestIdPolicy(), headers, RetryPolicy()]
    client = core.PipelineClient(alice.base, policies=policies, transport=Transport())

    def run(polling: Any, method: str, path: str, data: Any) -> Any:
        request = HttpRequest(method, alice.base + path, json=data)
        initial = client._pipeline.run(request)
        initial.http_response.read()
        assert initial.http_response.status_code == 202
        return LROPoller(client, initial, lambda response: response.http_response, polling)

    return run


@pytest.fixture(
    params=["core.polling.base_polling.LROBasePolling", "mgmt.core.polling.arm_polling.ARMPolling"]
)
def method_of_polling(request: pytest.FixtureRequest) -> Any:
    module, _, name = f"azure.{request.param}".rpartition(".")
    reason = "needs azure-core and azure-mgmt-core (extra: test)"
    return getattr(pytest.importorskip(module, reason=reason), name)()


def test_azure_follows_to_the_result(azure, later, method_of_polling):
    """Contract 1, 3, 9, 13: by Operation-Location (azure-core) and by Location (azure-mgmt-core)."""
    later("azure")
    poller = azure(method_of_polling, "POST", "/api/gates/free/", {"name": "azure"})
    response = poller.result(30)
    assert poller.status().lower() == "succeeded"
    assert (response.status_code, json.loads(response.text())) == (200, {"passed": "azure"})


def test_azure_learns_of_a_failure(azure, later, method_of_polling):
    """Contract 10: a failed job is an error there, at once, and not a read to be repeated."""
    from azure.core.exceptions import HttpResponseError

    later("azure")
    poller = azure(method_of_polling, "POST", "/api/gates/free/", {"name": "azure", "refuse": True})
    with pytest.raises(HttpResponseError):
        poller.result(30)


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_azure_changes_and_deletes(azure, worker, method_of_polling, method):
    """Contract 13: a 204 and a changed resource, in the ways of each HTTP method."""
    note = Note.objects.create(slug="a", title="A")
    data = {"title": "B"} if method == "PATCH" else None
    poller = azure(method_of_polling, method, f"/api/policies/always/notes/{note.pk}/", data)
    poller.wait(30)
    assert poller.status().lower() == "succeeded"
    if method == "DELETE":
        assert not Note.objects.exists()
    else:
        assert json.loads(poller.result().text())["title"] == "B"


# --- @azure/core-lro, JavaScript ----------

CORE_LRO = """
import { createHttpPoller } from "@azure/core-lro";
const [, , base, token, path, body] = process.argv;
async function send(method, url, body) {
  const headers = { Authorization: token, "Content-Type": "application/json" };
  const answer = await fetch(new URL(url, base), { method, headers, body });
  const text = await answer.text();
  const flat = text ? JSON.parse(text) : undefined;
  const rawResponse = {
    statusCode: answer.status, headers: Object.fromEntries(answer.headers), body: flat,
    request: { method: "POST", url: base + path },
  };
  return { flatResponse: flat, rawResponse };
}
const poller = createHttpPoller(
  { sendInitialRequest: () => send("POST", path, body), sendPollRequest: (url) => send("GET", url) },
  { intervalInMs: 200, resourceLocationConfig: "location" },
);
try {
  const result = await poller.pollUntilDone();
  console.log(JSON.stringify({ status: poller.operationState.status, result }));
} catch (error) {
  console.log(JSON.stringify({ status: poller.operationState?.status, error: String(error.message) }));
}
"""


@pytest.fixture(scope="session")
def core_lro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``@azure/core-lro``."""
    find("node")
    find("npm")
    folder = tmp_path_factory.mktemp("core-lro")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    command = ["npm", "install", "--no-audit", "--no-fund", "@azure/core-lro@3"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        servers.do_without("npm does not get @azure/core-lro in time")
    if done.returncode:
        servers.do_without(f"npm cannot get @azure/core-lro: {done.stderr[-200:]}")
    (folder / "follow.js").write_text(CORE_LRO)
    return folder


def run(*command: str, **options: Any) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, **options).stdout


def node(folder: Path, script: str, *args: str) -> Any:
    return json.loads(run("node", script, *args, cwd=folder).strip().splitlines()[-1])


#: What two clients ask for at the same time, and the name of each gate.
BOTH = {"opens": False, "refuses": True}


def follow_both(later: Any, follow: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Let one client follow a job that succeeds, and another one a job that fails."""
    later(*BOTH)
    asked = [{"name": name, "refuse": refuse} for name, refuse in BOTH.items()]
    return dict(zip(BOTH, together(2, lambda index: follow(asked[index]), threads=2), strict=True))


@pytest.mark.programs
def test_core_lro_follows(core_lro, alice, later):
    """Contract 1, 9, 10, 13: Microsoft's poller in JavaScript."""
    token = str(alice.session.headers["Authorization"])

    def follow(data: dict[str, Any]) -> Any:
        return node(core_lro, "follow.js", alice.base, token, "/api/gates/free/", json.dumps(data))

    told = follow_both(later, follow)
    assert told["opens"] == {"status": "succeeded", "result": {"passed": "opens"}}
    assert told["refuses"]["status"] == "failed"


# --- urllib3 ----------


def test_urllib3_repeats_202_as_it_is_told(alice, later, monkeypatch):
    """Contract 3, 10: ``Retry`` with 202 in its list honours Retry-After, and stops at the final answer."""
    slept: list[float] = []
    sleep = urllib3.util.retry.time.sleep
    monkeypatch.setattr(
        urllib3.util.retry.time, "sleep", lambda seconds: (slept.append(seconds), sleep(0.1))[0]
    )
    retry = urllib3.Retry(total=100, status_forcelist=[202], allowed_methods={"GET"}, raise_on_status=False)

    def follow(data: dict[str, Any]) -> requests.Response:
        session = alice.again().session
        session.mount("http://", HTTPAdapter(max_retries=retry))
        accepted = session.post(f"{alice.base}/api/gates/free/", json=data, timeout=30)
        return session.get(accepted.headers["Location"], timeout=30)

    told = follow_both(later, follow)
    assert {name: answer.status_code for name, answer in told.items()} == {"opens": 200, "refuses": 422}
    assert 1 in slept  # what Retry-After said


# --- The followers of the docs ----------


def _example(name: str) -> str:
    return (DOCS / "examples" / name).read_text()


def test_the_python_follower_of_the_docs(alice, later):
    """Contract 3, 13: ten lines of ``requests``."""
    space: dict[str, Any] = {}
    exec(_example("follow.py"), space)  # noqa: S102 our own documentation
    slept: list[float] = []
    space["time"] = SimpleNamespace(sleep=lambda seconds: (slept.append(seconds), time.sleep(0.05)))

    def follow(data: dict[str, Any]) -> requests.Response:
        session = alice.again().session
        return space["follow"](session, session.post(f"{alice.base}/api/gates/free/", json=data))

    told = follow_both(later, follow)
    assert {name: answer.status_code for name, answer in told.items()} == {"opens": 200, "refuses": 422}
    assert set(slept) == {1}


@pytest.mark.programs
def test_the_javascript_follower_of_the_docs(alice, later, tmp_path):
    """Contract 3, 13: the same with ``fetch``."""
    find("node")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "follow.js").write_text(_example("follow.js"))
    (tmp_path / "main.js").write_text(
        """import { follow } from "./follow.js";
        const [, , url, token, body] = process.argv;
        const headers = { Authorization: token, "Content-Type": "application/json" };
        const answer = await follow(await fetch(url, { method: "POST", headers, body }), { headers });
        console.log(JSON.stringify({ status: answer.status, body: await answer.json() }));
        """
    )
    token = str(alice.session.headers["Authorization"])

    def follow(data: dict[str, Any]) -> Any:
        return node(tmp_path, "main.js", f"{alice.base}/api/gates/free/", token, json.dumps(data))

    told = follow_both(later, follow)
    assert {name: answer["status"] for name, answer in told.items()} == {"opens": 200, "refuses": 422}


@pytest.mark.programs
def test_the_curl_follower_of_the_docs(alice, later, tmp_path):
    """Contract 3, 13: ``curl`` in a loop: while the answer is 202, wait Retry-After seconds and GET Location."""
    find("curl")
    environment = os.environ | {
        "AUTH": f"Authorization: {alice.session.headers['Authorization']}",
        "no_proxy": "*",
    }

    def follow(data: dict[str, Any]) -> tuple[str, Any]:
        folder = tmp_path / data["name"]
        folder.mkdir()
        gates = f"{alice.base}/api/gates/free/"
        status, _, answer = run(
            "sh", str(DOCS / "examples" / "follow.sh"), gates, json.dumps(data), cwd=folder, env=environment
        ).partition(" ")
        return status, json.loads(answer)

    told = follow_both(later, follow)
    assert told["opens"] == ("200", {"passed": "opens"})
    assert (told["refuses"][0], told["refuses"][1]["code"]) == ("422", "wrong-gate")


def test_the_followers_are_short():
    """Contract 3: about ten lines each."""
    for name in ("follow.py", "follow.js", "follow.sh"):
        lines = [
            line for line in _example(name).splitlines() if line.strip() and not re.match(r"\s*(#|//)", line)
        ]
        assert len(lines) <= 11, name
