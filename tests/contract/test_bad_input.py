"""Bad input to every header and body: never a 500, and nothing stored that should not be.

What a client library would not send goes over a raw socket.
"""

import json
import socket
from urllib.parse import quote, urlsplit

import django
import pytest
from django.contrib.auth import get_user_model
from django.test import Client as DjangoClient

from async_accept.models import Job
from async_accept.testing import make_job
from tests.contract.cases import CASES, SUM, every_view_with_input

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/policies/always/class/"
GARBAGE = {
    "empty": b"",
    "space": b"   ",
    "10 KB": b"x" * 10_000,
    "10 KB of commas": b"," * 10_000,
    "10 KB of quotes": b'"' * 10_001,
    "10 KB of backslashes": b'"' + b"\\" * 10_000,
    "spaces to go back in": b"wait=" + b" " * 4000 + b"x y",
    "nul": b"a\x00b",
    "control": b"a\x01\x02\x7fb",
    "tab": b"a\tb",
    "latin-1": b"\xe9\xff\x80",
    "utf-8": "ключ ☃".encode(),
    "invalid utf-8": b"\xc3\x28\xf0",
    "folded": b"a\r\n b",
    "percent": b"%00%0d%0aX: y",
    "json": b'{"a": [1]}',
    "structured": b'"a";b=?1;c=:AA==:, (1 2)',
    "number": b"99999999999999999999999999",
    "negative": b"-1",
    "comma": b",",
    "quoted": b'"unclosed',
    "equals": b"===;;;==",
}
HEADERS = (
    "Idempotency-Key",
    "Prefer",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "Accept",
    "Accept-Language",
    "Content-Type",
    "Content-Length",
    "X-Request-Id",
    "traceparent",
    "X-Forwarded-Host",
    "X-HTTP-Method-Override",
    "Cookie",
    "Range",
    "Expect",
)


def raw(base: str, method: str, path: str, lines: list[bytes], body: bytes = b"") -> int:
    """Send a request byte by byte as told; return the status (0 where the server hung up)."""
    parts = urlsplit(base)
    if not any(line.lower().startswith(b"content-length") for line in lines):
        lines = [*lines, b"Content-Length: %d" % len(body)]
    if not any(line.lower().startswith(b"content-type") for line in lines):
        lines = [*lines, b"Content-Type: application/json"]
    head = b"\r\n".join(
        [f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", b"Connection: close", *lines]
    )
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall(head + b"\r\n\r\n" + body)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return int(answer.split(None, 2)[1]) if answer.startswith(b"HTTP/") else 0


CALLS = [
    *((method, end) for method in ("GET", "HEAD") for end in ("", "result/", "events/", None)),
    ("POST", "cancel/"),
    ("POST", "rerun/"),
    ("DELETE", ""),
]


@pytest.fixture
def job(alice):
    owner = get_user_model().objects.get(username="alice")
    return lambda state: make_job(
        "tests.testapp.tasks.add", state=state, owner=owner, operation="sums.add", input={"x": 1, "y": 2}
    )


@pytest.fixture
def caller(alice):
    """Call a view as a server would, with any text in a header; what is raised there fails the test."""
    client = DjangoClient()
    token = alice.session.headers["Authorization"]
    return lambda method, path, **meta: client.generic(method, path, HTTP_AUTHORIZATION=token, **meta)


@pytest.fixture
def token(alice) -> bytes:
    return b"Authorization: " + alice.session.headers["Authorization"].encode()


@pytest.mark.parametrize("header", HEADERS)
def test_garbage_in_a_header(base, alice, token, header):
    """Contract 2, 4, 5, 11, 12: at accept and at the endpoints of jobs."""
    body = json.dumps(SUM).encode()
    path = urlsplit(alice.post(URL, SUM).headers["Operation-Location"]).path
    for name, garbage in GARBAGE.items():
        line = header.encode() + b": " + garbage
        before = Job.objects.count()
        if header == "Content-Length" and name != "negative":
            continue  # the server would wait for a body that does not come
        if header == "Content-Type" and len(garbage) > 10_000 and django.VERSION >= (6, 1):
            continue  # Django itself answers 500, before it looks for a view
        status = raw(base, "POST", URL, [token, line], body)
        assert status < 500, (name, status)
        assert Job.objects.count() - before == (status == 202), name
        for method, endpoint in [("GET", ""), ("GET", "result/"), ("GET", "events/"), ("POST", "cancel/")]:
            assert raw(base, method, path + endpoint, [token, line]) < 500, (name, method, endpoint)
    for method, endpoint in [("POST", "rerun/"), ("HEAD", ""), ("DELETE", "")]:
        assert raw(base, method, path + endpoint, [token, header.encode() + b": " + GARBAGE["10 KB"]]) < 500


@pytest.mark.parametrize("header", HEADERS[1:7])
def test_garbage_at_every_endpoint_of_a_job(job, caller, header):
    """Contract 11, 12, 14, 15: each kind of garbage in each header, twice too; what is refused is a problem."""
    read = job("running")
    for name, garbage in GARBAGE.items():
        for method, endpoint in CALLS:
            made = read if method in ("GET", "HEAD") else job("failed" if endpoint == "rerun/" else "running")
            path = f"/api/jobs/{made.pk}/{endpoint}" if endpoint is not None else "/api/jobs/?page_size=1"
            text = (garbage if method == "GET" else garbage + b", " + garbage).decode("latin-1")
            response = caller(method, path, **{"HTTP_" + header.upper().replace("-", "_"): text})
            assert response.status_code < 500, (name, method, endpoint)
            if response.status_code >= 400 and method != "HEAD":
                assert response["Content-Type"] == "application/problem+json", (name, method, endpoint)


@pytest.mark.parametrize(
    "name", ["wait", "cursor", "page_size", "status", "operation", "created_after", "format", "last_event_id"]
)
def test_garbage_in_a_parameter(job, caller, settings, name):
    """Contract 9, 14, 15: of a status monitor, a result, a stream or the list."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_WAIT_SECONDS": 0}
    made = job("running")
    numbers = [
        b"1e999",
        b"-1",
        b"NaN",
        b"Infinity",
        b"9" * 400,
        b"9" * 5_000,
        b"0x10",
        b"1_0",
        "\u0663".encode(),
        b"+1",
    ]
    for garbage in (*GARBAGE.values(), *numbers):
        for endpoint in ("", f"{made.pk}/", f"{made.pk}/result/", f"{made.pk}/events/"):
            response = caller("GET", f"/api/jobs/{endpoint}?{name}=x&{name}={quote(garbage)}")
            assert response.status_code < 500, (garbage, endpoint)
            if response.status_code >= 400:
                assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("header", HEADERS[:6])
def test_duplicates_and_case(base, token, header):
    """Contract 4, 5: header names are case-insensitive, and duplicates are one list."""
    body = json.dumps(SUM).encode()
    for lines in (
        [f"{header.upper()}: a".encode(), f"{header.lower()}: a".encode()],
        [f"{header}: a".encode()] * 50,
        [f"{header.replace('-', '_')}: a".encode()],
    ):
        assert raw(base, "POST", URL, [token, *lines], body) < 500


def test_wrong_case_of_the_key_header(base, token):
    """Contract 5: whatever the case of its name, it is the same header."""
    body = json.dumps(SUM).encode()
    for name in (b"idempotency-key", b"IDEMPOTENCY-KEY", b"Idempotency-Key"):
        assert raw(base, "POST", URL, [token, name + b": k"], body) == 202
    assert Job.objects.count() == 1


NESTED = {depth: "[" * depth + "]" * depth for depth in (199, 250, 900, 1_500, 100_000)}
BODIES = {
    "empty": b"",
    "space": b" ",
    "broken": b'{"x": 1',
    "not json": b"x=1&y=2",
    "nul": b"\x00",
    "invalid utf-8": b'{"x": "\xff"}',
    "nul in text": b'{"x": 1, "y": 2, "z": "a\\u0000b"}',
    "lone surrogate": b'{"x": 1, "y": 2, "z": "\\ud800"}',
    "nan": b'{"x": NaN, "y": Infinity}',
    "overflow": b'{"x": 1, "y": 2, "z": 1e999}',
    "long integer": b'{"x": ' + b"9" * 10_000 + b', "y": 1}',
    "array": b"[1, 2]",
    "text": b'"x"',
    "null": b"null",
    "true": b"true",
    "number": b"7",
    "bom": b'\xef\xbb\xbf{"x": 1, "y": 2}',
    "utf-16": '{"x": 1, "y": 2}'.encode("utf-16"),
    **{f"nested {depth} deep": f'{{"x": 1, "y": 2, "z": {text}}}'.encode() for depth, text in NESTED.items()},
    **{f"nothing but {depth} brackets": text.encode() for depth, text in NESTED.items()},
    "objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
}


@every_view_with_input
def test_bad_bodies(case, alice):
    """Contract 2, 16: 400 at once and no job, or a job whose input can be stored."""
    for name, body in BODIES.items():
        for headers in ({}, {"Idempotency-Key": "k"}):
            headers = {"Content-Type": "application/json", **headers}
            response = alice(case.method, case.url(), data=body, headers=headers)
            assert response.status_code in (202, 400), (name, response.text[:500])
            assert Job.objects.count() == (response.status_code == 202)
            Job.objects.all().delete()


CONTENT_TYPES = [
    "application/json; charset=nonsense",
    "application/json; charset=utf-16",
    "application/json; charset=utf-7",
    "application/json; charset=base64",
    "application/json; charset=zlib",
    "application/json; charset=rot13",
    "application/json; charset=idna",
    "application/json; charset=undefined",
    "application/json; charset=" + "x" * 5_000,
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=" + "x" * 5_000,
    "application/x-www-form-urlencoded; charset=utf-32",
    "application/x-www-form-urlencoded",
    "nonsense",
    "/",
    "*/*",
    ";;;",
]


def test_bad_content_types(alice):
    """Contract 2: 400 or 415, and no job."""
    part = b"--x\r\nContent-Disposition: form-data; name=x\r\n\r\n1"
    for content_type in CONTENT_TYPES:
        for body in (b'{"x": 1, "y": 2}', b"\xff\xfe\x00", part, b""):
            response = alice("POST", URL, data=body, headers={"Content-Type": content_type})
            assert response.status_code in (202, 400, 415), (content_type, body, response.status_code)
            assert Job.objects.count() == (response.status_code == 202)
            Job.objects.all().delete()


@pytest.mark.parametrize("kind", CASES)
def test_payload_above_the_limit_is_413(alice, kind):
    """Contract 8: before anything is kept; by its announced length, and by its stored size."""
    case = CASES[kind]
    data = (case.data or {}) | {"padding": "x" * 300}
    response = alice(case.method, case.url("small"), data)
    assert response.status_code == 413
    assert "Prefer" in response.headers["Vary"]
    assert not Job.objects.exists()


def test_input_that_grows_is_413(alice):
    """Contract 8: what is short on the wire and long as JSON counts by its JSON."""
    response = alice.post("/api/policies/small/class/", data={"x": "1", "y": "2", "z": "é" * 60})
    assert response.status_code in (202, 413)
    escaped = json.dumps(SUM | {"z": "\x01" * 20})
    response = alice(
        "POST", "/api/policies/small/class/", data=escaped, headers={"Content-Type": "application/json"}
    )
    assert response.status_code in (202, 413)


def test_length_is_checked_before_the_body_is_read(base, token):
    """Contract 8: who announces too much is answered without sending it."""
    lines = [token, b"Content-Length: 99999999999"]
    assert raw(base, "POST", "/api/policies/small/class/", lines) == 413
    assert not Job.objects.exists()


def test_urls_of_jobs_take_any_text(alice):
    """Contract 18: malformed ids are unknown jobs."""
    for name in (
        "%2e%2e",
        "%00",
        "%0d%0aX:%20y",
        "☃",
        "a" * 3_000,
        "%ff",
        "'",
        '"',
        "<script>",
        "-1",
        "0",
        "null",
    ):
        for endpoint in ("", "result/", "events/"):
            assert alice.get(f"/api/jobs/{name}/{endpoint}").status_code == 404
        for endpoint in ("cancel/", "rerun/"):
            assert alice.post(f"/api/jobs/{name}/{endpoint}").status_code == 404
        assert alice.delete(f"/api/jobs/{name}/").status_code == 404


def test_regular_expressions_are_quick(alice):
    """Contract 4, 5: no header makes the server think for long."""
    import time

    evil = [
        '"' + "\\" * 3_999,
        "a=" + " " * 4_000 + "x",
        ("a=" + " " * 40 + '"') * 90,
        'a="' * 1_300,
        ";" * 4_000,
    ]
    for text in evil:
        for header in ("Prefer", "Idempotency-Key", "If-None-Match", "If-Match"):
            began = time.process_time()
            alice.post(URL, SUM, headers={header: text})
            assert time.process_time() - began < 1, (header, text[:20])
