"""Bad input in every header, parameter and body: never a 500, and nothing stored that should not be.

What a client library would not send goes over a raw socket.
"""

import json
import time
from urllib.parse import quote, urlsplit

import django
import pytest
from django.test import Client as DjangoClient

from async_accept.models import Job
from tests.contract.cases import CASES, SUM, every_view_with_input
from tests.contract.conftest import url
from tests.contract.raw import send

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
#: What we read ourselves.
OURS = ("Idempotency-Key", "Prefer", "If-Match", "If-None-Match", "Last-Event-ID", "Accept")
#: What others read and do not refuse: sent together in one request.
OTHERS = (
    "Accept-Language",
    "X-Request-Id",
    "traceparent",
    "X-Forwarded-Host",
    "X-HTTP-Method-Override",
    "Cookie",
    "Range",
    "Expect",
)
SENT = {name: (name,) for name in (*OURS, "Content-Type", "Content-Length")} | {"others": OTHERS}


@pytest.fixture
def caller(alice, configure):
    """Call a view as a server would, with any text in a header; what is raised there fails the test."""
    configure(POLL_RATE=None)
    client = DjangoClient()
    token = alice.session.headers["Authorization"]
    return lambda method, path, **meta: client.generic(method, path, HTTP_AUTHORIZATION=token, **meta)


# --- Headers ----------


@pytest.mark.parametrize("headers", SENT.values(), ids=SENT)
def test_garbage_in_a_header(alice, headers):
    """Contract 2, 4, 5, 11, 12: at accept and at the endpoints of jobs, over a real connection."""
    path = urlsplit(alice.post(URL, SUM).headers["Operation-Location"]).path
    for number, (name, garbage) in enumerate(GARBAGE.items()):
        if headers == ("Content-Length",) and name != "negative":
            continue  # the server would wait for a body that does not come
        if headers == ("Content-Type",) and len(garbage) > 10_000 and django.VERSION >= (6, 1):
            continue  # Django itself answers 500, before it looks for a view
        lines = [header.encode() + b": " + garbage for header in headers]
        before = Job.objects.count()
        status = send(alice, "POST", URL, *lines, data=SUM).status
        assert status < 500, (name, status)
        assert Job.objects.count() - before == (status == 202), name
        method, endpoint = (("GET", ""), ("POST", "cancel/"))[number % 2]
        assert send(alice, method, path + endpoint, *lines).status < 500, (name, method)


CALLS = [
    *(("GET", endpoint) for endpoint in ("", "result/", "events/", None)),
    ("HEAD", ""),
    ("HEAD", "events/"),
    ("POST", "cancel/"),
    ("POST", "rerun/"),
    ("DELETE", ""),
]


@pytest.mark.parametrize(
    ("shift", "headers"), list(enumerate([*((name,) for name in OURS), OTHERS])), ids=[*OURS, "others"]
)
def test_garbage_at_every_endpoint_of_a_job(job, caller, shift, headers):
    """Contract 11, 12, 14, 15: each kind of garbage in each header, once and twice; what is refused is a problem.

    All pairs: each header, each kind of garbage and each endpoint meet; a third of the triples does that.
    """
    for number, (method, endpoint) in enumerate(CALLS):
        state = "failed" if endpoint == "rerun/" else "running"
        made = job(state)
        for name, garbage in list(GARBAGE.items())[(shift + number) % 3 :: 3]:
            path = url(made, endpoint) if endpoint is not None else "/api/jobs/?page_size=1"
            text = (garbage if method == "GET" else garbage + b", " + garbage).decode("latin-1")
            meta = {"HTTP_" + header.upper().replace("-", "_"): text for header in headers}
            response = caller(method, path, **meta)
            assert response.status_code < 500, (name, method, endpoint)
            if response.status_code >= 400 and method != "HEAD":
                assert response["Content-Type"] == "application/problem+json", (name, method, endpoint)
            if response.status_code < 300 and method == "DELETE":
                made = job(state)


def test_repeated_headers_and_case(alice):
    """Contract 4, 5: header names are case-insensitive, and repeated lines are one list."""
    for header in OURS:
        for lines in (
            [f"{header.upper()}: a".encode(), f"{header.lower()}: a".encode()],
            [f"{header}: a".encode()] * 50,
            [f"{header.replace('-', '_')}: a".encode()],
        ):
            assert send(alice, "POST", URL, *lines, data=SUM).status < 500, header


def test_case_of_the_key_header(alice):
    """Contract 5: in whatever case its name is written, it is the same header; two lines name no key."""
    for name in (b"idempotency-key", b"IDEMPOTENCY-KEY", b"Idempotency-Key"):
        assert send(alice, "POST", URL, name + b": k", data=SUM).status == 202
    assert Job.objects.count() == 1
    two = (b'Idempotency-Key: "a"', b'Idempotency-Key: "b"')
    assert send(alice, "POST", URL, *two, data=SUM).status == 400


def test_regular_expressions_are_quick(alice):
    """Contract 4, 5: no header makes the server think for long."""
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


# --- Parameters ----------

NUMBERS = [
    *(b"1e999", b"-1", b"NaN", b"Infinity", b"9" * 400, b"9" * 5_000, b"0x10", b"1_0", b"+1"),
    "\u0663".encode(),
]
LIST, MONITOR, RESULT, EVENTS = "/api/jobs/", "{job}", "{job}result/", "{job}events/"
#: Each parameter, and the endpoints that read it.
PARAMETERS = {
    "wait": (MONITOR, RESULT),
    "format": (LIST, MONITOR, RESULT, EVENTS),
    "last_event_id": (EVENTS,),
    **dict.fromkeys(("cursor", "page_size", "status", "operation", "created_after"), (LIST,)),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_garbage_in_a_parameter(job, caller, configure, name):
    """Contract 9, 14, 15: of a status monitor, a result, a stream or the list."""
    configure(MAX_WAIT_SECONDS=0)
    monitor = url(job("running"))
    for garbage in (*GARBAGE.values(), *NUMBERS):
        for endpoint in PARAMETERS[name]:
            path = endpoint.format(job=monitor)
            response = caller("GET", f"{path}?{name}=x&{name}={quote(garbage)}")
            assert response.status_code < 500, (garbage, endpoint)
            if response.status_code >= 400:
                assert response["Content-Type"] == "application/problem+json"


# --- Bodies ----------

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
    """Contract 2, 16: 400 at once and no job, or a job whose input can be stored; with and without a key."""
    path = case.url()
    for name, body in BODIES.items():
        for headers in ({}, {"Idempotency-Key": "k"}):
            headers = {"Content-Type": "application/json", **headers}
            response = alice(case.method, path, data=body, headers=headers)
            assert response.status_code in (202, 400), (name, response.text[:500])
            assert Job.objects.count() == (response.status_code == 202)
            if response.status_code == 202:
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
            if response.status_code == 202:
                Job.objects.all().delete()


# --- Size ----------


@pytest.mark.parametrize("kind", CASES)
def test_payload_above_the_limit_is_413(alice, kind):
    """Contract 8: before anything is kept; by its announced length, and by its stored size."""
    case = CASES[kind]
    data = (case.data or {}) | {"padding": "x" * 300}
    response = alice(case.method, case.url("small"), data)
    assert response.status_code == 413
    assert "Prefer" in response.headers["Vary"]
    assert not Job.objects.exists()


def test_length_is_checked_before_the_body_is_read(alice):
    """Contract 8: a client that announces too much is answered without sending it."""
    small = "/api/policies/small/class/"
    assert send(alice, "POST", small, b"Content-Length: 99999999999").status == 413
    assert send(alice, "POST", small, b"Content-Length: " + b"0" * 20 + b"99999999999").status == 413
    assert not Job.objects.exists()


def test_input_that_grows(alice):
    """Contract 8: what is shorter on the wire than as stored JSON is taken or refused, and never a 500."""
    small, escaped = "/api/policies/small/class/", json.dumps(SUM | {"z": "\x01" * 20})
    assert alice.post(small, data={"x": "1", "y": "2", "z": "é" * 60}).status_code in (202, 413)
    json_type = {"Content-Type": "application/json"}
    assert alice("POST", small, data=escaped, headers=json_type).status_code in (202, 413)
