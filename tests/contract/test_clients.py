"""Clients that others have written follow our jobs unmodified (contract 1, 3, 10, 13), and so do those of the docs."""

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from tests import servers
from tests.testapp import contract_tasks

pytestmark = pytest.mark.django_db(transaction=True)

DOCS = Path(__file__).parents[2] / "docs"


def find(program: str) -> None:
    """Go on only where *program* is installed."""
    if not shutil.which(program):
        servers.do_without(f"needs {program}")


@pytest.fixture
def later(worker) -> Iterator[Any]:
    """Open a gate in a moment, so that the client finds the job running first."""
    timers = []

    def open_later(name: str) -> None:
        timers.append(threading.Timer(0.7, contract_tasks.gate(name).set))
        timers[-1].start()

    yield open_later
    for timer in timers:
        timer.join()


# --- azure-core and azure-mgmt-core, Python ----------


@pytest.fixture
def azure(alice):
    """A pipeline client of azure-core with alice's token, and a function that starts an operation and polls it."""
    core = pytest.importorskip("azure.core", reason="needs azure-core (extra: test)")
    from azure.core.pipeline.policies import HeadersPolicy, RequestIdPolicy, RetryPolicy
    from azure.core.polling import LROPoller
    from azure.core.rest import HttpRequest

    headers = HeadersPolicy({"Authorization": alice.session.headers["Authorization"]})
    client = core.PipelineClient(alice.base, policies=[RequestIdPolicy(), headers, RetryPolicy()])

    def run(polling: Any, method: str, path: str, data: Any) -> Any:
        request = HttpRequest(method, alice.base + path, json=data)
        initial = client._pipeline.run(request)
        initial.http_response.read()
        assert initial.http_response.status_code == 202
        poller = LROPoller(client, initial, lambda response: response.http_response, polling)
        return poller

    return run


def pollings() -> list[Any]:
    base = pytest.importorskip("azure.core.polling.base_polling", reason="needs azure-core (extra: test)")
    arm = pytest.importorskip(
        "azure.mgmt.core.polling.arm_polling", reason="needs azure-mgmt-core (extra: test)"
    )
    return [base.LROBasePolling(timeout=1), arm.ARMPolling(timeout=1)]


@pytest.mark.parametrize("which", [0, 1], ids=["LROBasePolling", "ARMPolling"])
def test_azure_follows_to_the_result(azure, later, which):
    """Contract 1, 9, 13: by Operation-Location (azure-core) and by Location (azure-mgmt-core)."""
    polling = pollings()[which]
    poller = azure(polling, "POST", "/api/gates/free/", {"name": "azure"})
    later("azure")
    response = poller.result(30)
    assert poller.status() == "succeeded" or poller.status() == "Succeeded"
    assert (response.status_code, json.loads(response.text())) == (200, {"passed": "azure"})


@pytest.mark.parametrize("which", [0, 1], ids=["LROBasePolling", "ARMPolling"])
def test_azure_learns_of_a_failure(azure, later, which):
    """Contract 10: a failed job is an error there, at once, and not a read to be repeated."""
    from azure.core.exceptions import HttpResponseError

    polling = pollings()[which]
    poller = azure(polling, "POST", "/api/gates/free/", {"name": "azure", "refuse": True})
    later("azure")
    with pytest.raises(HttpResponseError):
        poller.result(30)


@pytest.mark.parametrize("which", [0, 1], ids=["LROBasePolling", "ARMPolling"])
@pytest.mark.parametrize(
    ("method", "path", "status"), [("DELETE", "notes/{pk}/", 204), ("PATCH", "notes/{pk}/", 200)]
)
def test_azure_changes_and_deletes(azure, worker, which, method, path, status):
    """Contract 13: a 204 and a changed resource, in the ways of each HTTP method."""
    from tests.testapp.models import Note

    note = Note.objects.create(slug="a", title="A")
    data = {"title": "B"} if method == "PATCH" else None
    poller = azure(pollings()[which], method, f"/api/policies/always/{path.format(pk=note.pk)}", data)
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


def node(folder: Path, script: str, *args: str) -> Any:
    done = subprocess.run(
        ["node", script, *args], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("refuse", [False, True], ids=["success", "failure"])
def test_core_lro_follows(core_lro, alice, later, refuse):
    """Contract 1, 9, 10, 13: Microsoft's poller in JavaScript."""
    later("js")
    body = json.dumps({"name": "js", "refuse": refuse})
    token = alice.session.headers["Authorization"]
    told = node(core_lro, "follow.js", alice.base, token, "/api/gates/free/", body)
    assert told["status"] == ("failed" if refuse else "succeeded"), told
    if not refuse:
        assert told["result"] == {"passed": "js"}


# --- urllib3 ----------


@pytest.mark.parametrize("refuse", [False, True], ids=["success", "failure"])
def test_urllib3_repeats_202_as_it_is_told(alice, later, refuse, monkeypatch):
    """Contract 3, 10: ``Retry`` with 202 in its list honours Retry-After, and stops at the final answer."""
    slept: list[float] = []
    sleep = urllib3.util.retry.time.sleep
    monkeypatch.setattr(
        urllib3.util.retry.time, "sleep", lambda seconds: (slept.append(seconds), sleep(0.1))[0]
    )
    retry = urllib3.Retry(total=100, status_forcelist=[202], allowed_methods={"GET"}, raise_on_status=False)
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.headers["Authorization"] = alice.session.headers["Authorization"]
    accepted = session.post(f"{alice.base}/api/gates/free/", json={"name": "u", "refuse": refuse}, timeout=30)
    later("u")
    answer = session.get(accepted.headers["Location"], timeout=30)
    assert answer.status_code == (422 if refuse else 200)
    assert 1 in slept  # what Retry-After said


def test_a_caching_client_revalidates(alice, worker):
    """Contract 11: a client that keeps what it got and names its tag gets 304 until something is new."""
    accepted = alice.post("/api/gates/free/", {"name": "cached"})
    alice.until(accepted, "running")
    url, tag, codes = accepted.headers["Operation-Location"], None, []
    contract_tasks.gate("cached").set()
    for _ in range(500):
        response = alice.get(url, headers={"If-None-Match": tag} if tag else {})
        codes.append(response.status_code)
        tag = response.headers["ETag"]
        if response.status_code == 200 and response.json()["status"] == "succeeded":
            break
    assert codes[-1] == 200
    assert alice.get(url, headers={"If-None-Match": tag}).status_code == 304


# --- The followers of the docs ----------


def _example(name: str) -> str:
    return (DOCS / "examples" / name).read_text()


@pytest.mark.parametrize("refuse", [False, True], ids=["success", "failure"])
def test_the_python_follower_of_the_docs(alice, later, refuse):
    """Contract 3, 13: ten lines of ``requests``."""
    space: dict[str, Any] = {}
    exec(_example("follow.py"), space)  # noqa: S102 our own documentation
    later("docs")
    data = {"name": "docs", "refuse": refuse}
    answer = space["follow"](alice.session, alice.session.post(f"{alice.base}/api/gates/free/", json=data))
    assert answer.status_code == (422 if refuse else 200)


@pytest.mark.parametrize("refuse", [False, True], ids=["success", "failure"])
def test_the_javascript_follower_of_the_docs(alice, later, refuse, tmp_path):
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
    later("docs")
    token = str(alice.session.headers["Authorization"])
    body = json.dumps({"name": "docs", "refuse": refuse})
    told = node(tmp_path, "main.js", f"{alice.base}/api/gates/free/", token, body)
    assert told["status"] == (422 if refuse else 200)


@pytest.mark.parametrize("refuse", [False, True], ids=["success", "failure"])
def test_the_curl_follower_of_the_docs(alice, later, tmp_path, refuse):
    """Contract 3, 13: ``curl`` in a loop: while the answer is 202, wait Retry-After seconds and GET Location."""
    find("curl")
    later("curl")
    environment = os.environ | {
        "AUTH": f"Authorization: {alice.session.headers['Authorization']}",
        "no_proxy": "*",
    }
    body = json.dumps({"name": "curl", "refuse": refuse})
    command = ["sh", str(DOCS / "examples" / "follow.sh"), f"{alice.base}/api/gates/free/", body]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    status, _, answer = done.stdout.partition(" ")
    if refuse:
        assert (status, json.loads(answer)["code"]) == ("422", "wrong-gate")
    else:
        assert (status, json.loads(answer)) == ("200", {"passed": "curl"})


def test_the_followers_are_short():
    """Contract 3: about ten lines each."""
    for name in ("follow.py", "follow.js", "follow.sh"):
        lines = [
            line for line in _example(name).splitlines() if line.strip() and not re.match(r"\s*(#|//)", line)
        ]
        assert len(lines) <= 11, name
