"""Contract 8: a body without a length is read if the server can hand it over, else refused; it is never lost."""

import json
from urllib.parse import urlsplit

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from django.test import Client

from async_accept.models import Job
from async_accept.testing import run_accepted_jobs
from tests.contract.cases import SUM


@pytest.fixture
def token(alice) -> str:
    return alice.session.headers["Authorization"]


def over_asgi(path, token, chunks, headers=()):
    """POST *chunks* without a Content-Length, as an ASGI server hands them over; return status and body."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [
            (b"host", b"testserver"),
            (b"authorization", token.encode()),
            (b"content-type", b"application/json"),
            *headers,
        ],
    }

    async def ask():
        server = ApplicationCommunicator(get_asgi_application(), scope)
        for number, chunk in enumerate(chunks, 1):
            more = number < len(chunks)
            await server.send_input({"type": "http.request", "body": chunk, "more_body": more})
        start = await server.receive_output(10)
        body = await server.receive_output(10)
        await server.wait(10)
        return start["status"], json.loads(body["body"])

    return async_to_sync(ask)()


def test_a_chunked_body_is_refused_under_wsgi(token):
    answer = Client().generic(
        "POST",
        "/api/policies/always/class/",
        content_type="application/json",
        HTTP_AUTHORIZATION=token,
        HTTP_TRANSFER_ENCODING="Chunked",
    )
    assert answer.status_code == 411
    assert not Job.objects.exists()


def test_a_request_without_a_body_needs_no_length_under_wsgi(token):
    answer = Client().generic("POST", "/api/shout/hi/", HTTP_AUTHORIZATION=token)
    assert answer.status_code == 202


def test_a_chunked_body_is_read_under_asgi(token, alice):
    body = json.dumps(SUM).encode()
    chunks = [body[:5], body[5:]]
    status, job = over_asgi(
        "/api/policies/always/class/", token, chunks, [(b"transfer-encoding", b"chunked")]
    )
    assert status == 202
    run_accepted_jobs()
    assert alice.get(urlsplit(job["result_url"]).path).status_code == 201


def test_a_chunked_body_above_the_limit_is_413_under_asgi(token):
    status, _ = over_asgi("/api/policies/small/class/", token, [b'{"x": 1, "y": "', b"2" * 300, b'"}'])
    assert status == 413
    assert not Job.objects.exists()
