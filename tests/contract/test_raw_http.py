"""What no client library would send, byte by byte, to a WSGI and to an ASGI server."""

import json
import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from async_accept.models import Job
from tests.contract.cases import SUM
from tests.contract.conftest import url

pytestmark = pytest.mark.django_db(transaction=True)

ACCEPT = "/api/policies/always/class/"
ENDPOINTS = ("", "result/", "events/", "cancel/", "rerun/")
BODY = json.dumps(SUM).encode()
HEAD_END = b"\r\n\r\n"


class Answer:
    """One answer of a server, as it came."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {
            name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)
        }
        self.body = body


class Wire:
    """Requests of alice's, written by hand; each call is one connection."""

    def __init__(self, base: str, authorization: str) -> None:
        self.parts = urlsplit(base)
        self.authorization = authorization

    def request(self, line: str, *headers: str, body: bytes = b"", version: str = "HTTP/1.1") -> bytes:
        length = [f"Content-Length: {len(body)}"] if body or not line.startswith(("GET", "HEAD")) else []
        own = ["Host: localhost", f"Authorization: {self.authorization}", *length]
        return "\r\n".join([f"{line} {version}", *own, *headers]).encode("latin-1") + HEAD_END + body

    def answers(self, *requests: bytes) -> list[Answer]:
        """Send all *requests* at once, and return every answer until the server hangs up."""
        address = (self.parts.hostname, self.parts.port)
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(b"".join(requests))
            text = b""
            while chunk := connection.recv(65536):
                text += chunk
        heads = [match.start() for match in re.finditer(rb"HTTP/1\.[01] \d{3} ", text)]
        parts = [text[at:until] for at, until in zip(heads, [*heads[1:], len(text)], strict=True)]
        return [Answer(head, body) for head, _, body in (part.partition(HEAD_END) for part in parts)]

    def __call__(self, line: str, *headers: str, **kwargs: Any) -> Answer:
        return self.answers(self.request(line, *headers, "Connection: close", **kwargs))[-1]


@pytest.fixture(params=["WSGI", "ASGI"])
def wire(request: pytest.FixtureRequest, base: str, alice: Any) -> Wire:
    if request.param == "ASGI":
        base = request.getfixturevalue("caller").base
    return Wire(base, alice.session.headers["Authorization"])


@pytest.mark.parametrize("state", ["running", "succeeded"])
def test_head_is_a_get_without_its_body(wire: Wire, job: Callable[..., Job], state: str) -> None:
    """Contract 11: at every endpoint, also of a stream that would not end."""
    made = job(state)
    for path in ("/api/jobs/", *(url(made, end) for end in ENDPOINTS)):
        head = wire(f"HEAD {path}")
        assert head.body == b""
        if path.endswith("events/"):
            assert head.status in (200, 406)
            continue
        get = wire(f"GET {path}")
        assert head.status == get.status
        if get.status == 405:
            continue  # its text names the method
        left_out = {"date", "retry-after"}
        assert {k: v for k, v in head.headers.items() if k not in left_out} == {
            k: v for k, v in get.headers.items() if k not in left_out
        }


def test_options_speaks_to_clients(wire: Wire, job: Callable[..., Job]) -> None:
    """Contract 11, 17: what an endpoint is for; no input, because none takes any, and no words for developers."""
    made = job("running")
    for path in ("/api/jobs/", *(url(made, end) for end in ENDPOINTS)):
        told = wire(f"OPTIONS {path}")
        assert told.status == 200
        assert b'"description":' in told.body
        assert b"include(" not in told.body
        assert b'"actions"' not in told.body
        assert "OPTIONS" in told.headers["allow"]


@pytest.mark.parametrize(
    ("list_of_tags", "is_known"),
    [
        ("{}", True),
        ("W/{}", True),
        ("*", True),
        ('"a", {}', True),
        ('"a",,{},', True),
        (", {}", True),
        ("\t{}", True),
        ('"a, b", {}', True),
        ('W/"a",W/{}', True),
        (", ".join(f'"{number:032}"' for number in range(1500)) + ", {}", True),
        ("", False),
        ('"a"', False),
        ("{}-gzip", False),
        ("bare {}", False),
        ('*, "a"', False),
        ("w/{}", False),
    ],
)
def test_list_of_entity_tags(wire: Wire, job: Callable[..., Job], list_of_tags: str, is_known: bool) -> None:
    """Contract 11, 12: as RFC 9110 has them; what is malformed matches nothing."""
    path = url(job("running"))
    tag = wire(f"GET {path}").headers["etag"]
    tags = list_of_tags.format(tag)

    assert wire(f"GET {path}", f"If-None-Match: {tags}").status == (304 if is_known else 200)
    # A running job cannot be rerun: 409 where the tag holds. Weak tags never do (RFC 9110, section 13.1.1).
    holds = is_known and "W/{}" not in list_of_tags
    assert wire(f"POST {path}rerun/", f"If-Match: {tags}").status == (409 if holds else 412)


def test_other_conditions_are_ignored(wire: Wire, job: Callable[..., Job]) -> None:
    """Contract 11: the entity tag is the only validator, and a result is sent as a whole."""
    running, ended = job("running"), job("succeeded")
    assert wire(f"GET {url(running)}", "If-Modified-Since: Tue, 05 May 2099 03:02:01 GMT").status == 200
    whole = wire(f"GET {url(ended, 'result/')}")
    for text in ("bytes=0-3", "bytes=0-0,-1", "bytes=99999-", "lines=1"):
        part = wire(f"GET {url(ended, 'result/')}", f"Range: {text}", 'If-Range: "a"')
        assert (part.status, part.body) == (200, whole.body)
        assert "content-range" not in part.headers


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_empty_accept_rules_nothing_out(wire: Wire, job: Callable[..., Job], text: str) -> None:
    """Contract 11: it is a list without members, and no list that excludes all."""
    made = job("succeeded")
    for path in ("/api/jobs/", url(made), url(made, "result/")):
        answer = wire(f"GET {path}", f"Accept: {text}")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")


def test_expectation(wire: Wire) -> None:
    """Contract 2: the body is asked for, and the answer is the same as without."""
    headers = ("Content-Type: application/json", "Expect: 100-continue", "Connection: close")
    first, last = wire.answers(wire.request(f"POST {ACCEPT}", *headers, body=BODY))
    assert (first.status, last.status) == (100, 202)
    assert Job.objects.count() == 1


def test_old_protocol(wire: Wire, job: Callable[..., Job]) -> None:
    """Contract 1, 11: HTTP/1.0 clients can send a request, and follow it."""
    accepted = wire(f"POST {ACCEPT}", "Content-Type: application/json", body=BODY, version="HTTP/1.0")
    assert accepted.status == 202
    path = urlsplit(accepted.headers["location"]).path
    assert wire(f"GET {path}", version="HTTP/1.0").status == 202
    stream = wire(f"GET {url(job('succeeded'), 'events/')}", version="HTTP/1.0")
    assert stream.status in (200, 406)
    assert "transfer-encoding" not in stream.headers


REFUSED = {
    "unknown job": ("POST", "/api/jobs/nothing/cancel/", 404, b"x" * 300),
    "no such method": ("PUT", "/api/jobs/", 405, b"x" * 300),
    "too large": ("POST", "/api/policies/small/class/", 413, b"x" * 300),
    "no JSON": ("POST", ACCEPT, 400, b"x" * 300),
    "no key": ("POST", "/api/policies/keyed/class/", 400, BODY),
    "another type": ("POST", ACCEPT, 415, b"x" * 300),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_connection_lives_after_a_refusal(wire: Wire, job: Callable[..., Job], kind: str) -> None:
    """Contract 2, 8: a body that nobody has read is not taken for the next request."""
    method, path, status, body = REFUSED[kind]
    content_type = "text/csv" if status == 415 else "application/json"
    refused = wire.request(f"{method} {path}", f"Content-Type: {content_type}", body=body)
    last = wire.request(f"GET {url(job('running'))}", "Connection: close")

    assert [answer.status for answer in wire.answers(refused, last)] == [status, 200]


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "QUERY", "BREW", "X-Y!"])
def test_unusual_method(wire: Wire, job: Callable[..., Job], method: str) -> None:
    """Contract 11: 405 with ``Allow``, and a problem."""
    for end in ENDPOINTS:
        answer = wire(f"{method} {url(job('running'), end)}")
        assert answer.status == 405
        assert answer.headers["content-type"] == "application/problem+json"
        assert "OPTIONS" in answer.headers["allow"]
    assert wire(f"{method} {ACCEPT}", "Content-Type: application/json", body=BODY).status == 405


def test_other_spellings_of_a_url(wire: Wire, job: Callable[..., Job]) -> None:
    """Contract 18: what is the same URL (RFC 3986, section 6.2.2) is the same job; all else is none."""
    made = job("running")
    same = [
        url(str(made.pk).replace("-", "%2D")),
        url(str(made.pk).upper()),
        url(made) + "?",
        url(made, "?&=&"),
    ]
    assert {wire(f"GET {path}").status for path in same} == {200}
    other = [
        url(made).replace("jobs/", "jobs//"),
        url(made) + "/",
        url(f"{made.pk};v=1"),
        url(made.pk.hex),
        url(f"{{{made.pk}}}"),
        url(f"urn:uuid:{made.pk}"),
        url(f"{made.pk}%20"),
        url(f"{made.pk}%00"),
    ]
    assert {wire(f"GET {path}").status for path in other} == {404}
    # Django's own way, whatever the method: only Location's spelling is to be followed.
    assert wire(f"GET {url(made)[:-1]}").headers["location"] == url(made)
