"""The exchanges on the page "HTTP": recorded from the example shop, and compared with what the docs show.

``ASYNC_ACCEPT_RECORD=1`` writes them anew. Ids, times and tags are normalised; everything else is as it was sent.
"""

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
import requests
from django.utils import timezone
from rest_framework.exceptions import APIException

from async_accept.exceptions import AcceptRefused, BrokerUnavailable
from async_accept.http.not_modified import not_modified
from async_accept.jobs import publish
from async_accept.jobs.broker import Broker
from async_accept.models import Job
from async_accept.problems import TYPES, WEBHOOK_CODES
from async_accept.progress import checkpoint
from example_project.shop import trouble
from example_project.shop.models import Product
from tests.contract.conftest import SECONDS, Client, eventually

pytestmark = pytest.mark.django_db(transaction=True)

FOLDER = Path(__file__).parents[2] / "docs" / "exchanges"
#: Of the server or of the connection, not of the contract.
LEFT_OUT = {
    *("date", "server", "connection", "transfer-encoding", "content-length", "x-content-type-options"),
    *("referrer-policy", "cross-origin-opener-policy", "x-frame-options", "allow", "content-language"),
    *("accept-encoding", "user-agent"),
}
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


class Recorder:
    def __init__(self, base: str) -> None:
        self.base = base
        self.ids: list[str] = []

    def normal(self, text: str) -> str:
        def name(match: re.Match[str]) -> str:
            if match[0] not in self.ids:
                self.ids.append(match[0])
            return f"0190a7e2-4b1c-7d3f-9a5e-{self.ids.index(match[0]) + 1:012d}"

        text = re.sub(UUID, name, text)
        text = re.sub(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)", "2026-05-04T03:02:01.500000Z", text
        )
        text = re.sub(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "Tue, 05 May 2026 03:02:01 GMT", text)
        text = re.sub(r'"[0-9a-f]{32}"', '"d5b3a1c09e8f47c6a2b1d0e9f8c7b6a5"', text)
        text = re.sub(r'(/api/orders/|"id": )\d+', r"\g<1>7", text)
        text = re.sub(r"id: \d+\.\d{6}-", "id: 1777863721.500000-", text)
        text = re.sub(r"cursor=[\w%]+", "cursor=cD0wMTkw", text)
        text = text.replace("Unprocessable Entity", "Unprocessable Content")  # as newer Pythons call it
        text = re.sub(r"Token [0-9a-f]{40}", "Token …", text)
        text = re.sub(r'"reference": ?"[0-9a-f]{12}"', '"reference": "3f9c0b7e21d4"', text)
        return text.replace(self.base, "https://shop.example").replace(
            self.base.removeprefix("http://"), "shop.example"
        )

    def check(self, name: str, response: requests.Response, stream: str = "") -> None:
        """Compare an exchange with the docs, or write it there; *stream* is what has come of one."""
        sent = response.request
        path = sent.url.removeprefix(self.base)
        lines = [f"{sent.method} {path} HTTP/1.1", "Host: shop.example"]
        lines += [f"{k}: {v}" for k, v in sent.headers.items() if k.lower() not in LEFT_OUT and v != "*/*"]
        lines += ["", _pretty(sent.body)] if sent.body else []
        lines += ["", f"HTTP/1.1 {response.status_code} {response.reason}"]
        lines += [f"{k}: {v}" for k, v in response.headers.items() if k.lower() not in LEFT_OUT]
        body = stream or (response.text and _pretty(response.text))
        lines += ["", body] if body else []
        text = self.normal("\n".join(lines)) + "\n"
        file = FOLDER / f"{name}.http"
        if os.environ.get("ASYNC_ACCEPT_RECORD"):
            file.write_text(text)
        assert file.read_text() == text, (
            f"docs/exchanges/{name}.http is out of date: ASYNC_ACCEPT_RECORD=1 writes it"
        )


def _pretty(body: str | bytes) -> str:
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False)


@pytest.fixture
def shop(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[threading.Event]:
    """The example shop with some tea, and a gate at which its slow job stands still."""
    settings.ROOT_URLCONF = "example_project.urls"
    settings.DRILLS, settings.TROUBLEMAKER = False, True
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {
        "RETRY_AFTER": ((None, 1),)
    }  # however slow this machine is
    settings.PRICING_SECONDS = settings.GATEWAY_SECONDS = 0
    Product.objects.create(sku="TEA-ASSAM", name="Assam tea, 100 g", price="7.20", stock=100)
    gate, steps = threading.Event(), count(1)

    def sleep(seconds: float) -> None:
        if next(steps) > 3:
            gate.wait(SECONDS)
        # The heartbeat may be slower than the gate: no step is made after the job was canceled.
        while Job.objects.filter(state="canceling").exists():
            checkpoint()
            time.sleep(0.02)

    monkeypatch.setattr(trouble, "time", SimpleNamespace(sleep=sleep))
    yield gate
    gate.set()


@contextmanager
def unheard() -> Iterator[None]:
    """Let no worker hear of what is accepted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "publish", lambda jobs, *via: [pk for pk, *_ in jobs])
        yield


@contextmanager
def saying(settings: Any, **more: Any) -> Iterator[None]:
    """Change settings of the package for a moment."""
    before = settings.ASYNC_ACCEPT
    settings.ASYNC_ACCEPT = before | more
    yield
    settings.ASYNC_ACCEPT = before


ORDERS, TROUBLE = "/api/orders/", "/api/trouble/"
ORDER = {"reference": "A-1", "lines": [{"sku": "TEA-ASSAM", "quantity": 2}]}


def test_exchanges_of_accepting(alice, worker, shop, settings, monkeypatch):
    """Contract 1, 2, 4, 5, 7: what the page "HTTP" shows of accepting is what the shop sends."""
    record = Recorder(alice.base)
    headers = {"Idempotency-Key": '"9f3c"', "Prefer": "respond-async"}
    with unheard():
        record.check("accept", alice.post(ORDERS, ORDER, headers=headers))
        record.check("repeat", alice.post(ORDERS, ORDER, headers={"Idempotency-Key": '"9f3c"'}))
        record.check("key-reused", alice.post(ORDERS, ORDER | {"note": "Ring."}, headers=headers))
        minimal = {"Prefer": "return=minimal"}
        record.check("accept-minimal", alice.post(ORDERS, ORDER | {"reference": "A-2"}, headers=minimal))
        with saying(settings, MAX_ACTIVE_PER_OWNER=2):
            record.check("too-many", alice.post(ORDERS, ORDER | {"reference": "A-3"}))
    with saying(settings, IDEMPOTENCY="required"):
        record.check("key-missing", alice.post(ORDERS, ORDER | {"reference": "A-3"}))
    with saying(settings, WHEN_BROKER_DOWN="refuse"), monkeypatch.context() as patch:
        patch.setattr(Broker, "check", Mock(side_effect=BrokerUnavailable))
        record.check("unavailable", alice.post(ORDERS, ORDER | {"reference": "A-3"}))
    record.check("invalid", alice.post(ORDERS, ORDER | {"code": "NOPE"}))
    wait = {"Prefer": "wait=10"}
    record.check("accept-wait", alice.post(ORDERS, ORDER | {"reference": "A-3"}, headers=wait))


def test_exchanges_of_following(alice, worker, shop):
    """Contract 10, 11, 13, 14, 15, 18: what it shows of jobs that are followed to their end."""
    record = Recorder(alice.base)
    with unheard():
        accepted = alice.post(ORDERS, ORDER)
        record.check("result-waiting", alice.get(accepted.headers["Location"]))
    # Another request uses the reference, before a worker comes to this one.
    assert alice.post(ORDERS, ORDER, headers={"Prefer": "wait=10"}).status_code == 201
    publish.publish([(Job.objects.earliest("id").pk, "async_accept.replay")])
    alice.until(accepted, "failed")
    record.check("poll-failed", alice.get(accepted.headers["Operation-Location"]))
    record.check("result-failed", alice.get(accepted.headers["Location"]))

    made = alice.post(ORDERS, ORDER | {"reference": "A-2"})
    alice.until(made, "succeeded")
    record.check("poll-done", alice.get(made.headers["Operation-Location"]))
    record.check("result", alice.get(made.headers["Location"]))
    Job.objects.filter(state="succeeded").update(expires_at=timezone.now() - timedelta(days=1))
    record.check("expired", alice.get(made.headers["Location"]))

    running = alice.post(TROUBLE, {"kind": "fail"})
    monitor = running.headers["Operation-Location"]
    poll = standing(alice, monitor)
    record.check("poll", poll)
    not_modified.sent.clear()
    record.check("not-modified", alice.get(monitor, headers={"If-None-Match": poll.headers["ETag"]}))
    record.check("long-poll", alice.get(monitor, headers={"Prefer": "wait=1"}))
    record.check("not-acceptable", alice.get(monitor, headers={"Accept": "application/xml"}))
    shop.set()
    alice.until(running, "failed")
    record.check("result-crashed", alice.get(running.headers["Location"]))
    unknown = f"{alice.base}/api/jobs/{uuid4()}/"
    record.check("not-found", alice.get(unknown))
    record.check("list", alice.get("/api/jobs/?status=failed,canceled&page_size=1"))


def test_exchanges_of_changing(alice, worker, shop):
    """Contract 9, 12: what it shows of cancel, rerun and DELETE."""
    record = Recorder(alice.base)
    made = alice.post(ORDERS, ORDER)
    alice.until(made, "succeeded")
    record.check("cancel-late", alice.post(made.headers["Operation-Location"] + "cancel/"))

    running = alice.post(TROUBLE, {"kind": "slow"})
    monitor = running.headers["Operation-Location"]
    standing(alice, monitor)
    record.check("precondition", alice.post(f"{monitor}cancel/", headers={"If-Match": '"an-older-one"'}))
    record.check("rerun-early", alice.post(f"{monitor}rerun/"))
    record.check("cancel", alice.post(f"{monitor}cancel/"))
    shop.set()
    alice.until(running, "canceled")
    record.check("cancel-again", alice.post(f"{monitor}cancel/"))
    record.check("result-canceled", alice.get(running.headers["Location"]))
    with unheard():
        again = alice.post(f"{monitor}rerun/")
        record.check("rerun", again)
        record.check("delete-open", alice.delete(again.headers["Operation-Location"]))
    Job.objects.update(input=None)
    record.check("rerun-gone", alice.post(f"{monitor}rerun/"))
    record.check("delete", alice.delete(monitor))


def test_exchange_of_events(alice, caller, worker, shop):
    """Contract 14: what it shows of a stream, from the first event to the last."""
    running = alice.post(TROUBLE, {"kind": "slow"})
    monitor = f"{caller.base}/api/jobs/{running.json()['id']}/"
    standing(alice, running.headers["Operation-Location"])
    stream = caller.session.get(
        f"{monitor}events/", headers={"Accept": "text/event-stream"}, stream=True, timeout=20
    )
    text = ""
    for chunk in stream.iter_content(None):
        text += chunk.decode()
        if text.endswith("\n\n") and '"running"' in text and '"canceling"' not in text:
            alice.post(running.headers["Operation-Location"] + "cancel/")
        elif text.endswith("\n\n") and '"canceling"' in text:
            shop.set()
    Recorder(caller.base).check("events", stream, text.strip())


def standing(client: Client, monitor: str) -> requests.Response:
    """Return M of the job that stands at the gate, with its last progress."""
    return eventually(
        lambda: ((answer := client.get(monitor)).json()["progress"] or {}).get("current") == 3 and answer,
        "a job at the gate",
    )


def _codes(base: type) -> set[str]:
    return {str(kind.default_code) for kind in base.__subclasses__()}.union(
        *map(_codes, base.__subclasses__())
    )


def test_every_problem_has_its_entry():
    """Contract 15: ``type`` is a documented URI: the page "Problems" has a heading for every code."""
    page = (FOLDER.parent / "problems.rst").read_text()
    entries = set(re.findall(r"^([a-z-]+)\n~+$", page, re.MULTILINE))
    others = {code.replace("_", "-") for code in _codes(APIException)}
    assert set(TYPES) | _codes(AcceptRefused) | set(WEBHOOK_CODES) <= entries
    assert entries <= set(TYPES) | others | set(WEBHOOK_CODES)


def test_every_exchange_is_shown():
    """Contract 1: each recorded exchange stands on the page, and each that stands there is recorded."""
    page = (FOLDER.parent / "http.rst").read_text()
    assert set(re.findall(r"exchanges/([\w-]+)\.http", page)) == {file.stem for file in FOLDER.glob("*.http")}
