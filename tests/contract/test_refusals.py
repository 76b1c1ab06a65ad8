"""What is refused at accept has a code for programs, in the error format of the host view."""

from typing import Any

import pytest
from django.db import OperationalError
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import exception_handler

from async_accept.exceptions import BrokerUnavailable
from async_accept.jobs.broker import Broker
from tests.contract.cases import CASES, SUM, every_view, every_view_with_input

pytestmark = pytest.mark.django_db(transaction=True)

KEY = {"Idempotency-Key": "k"}


@every_view_with_input
def test_reused_key_has_a_code(case, alice):
    """Contract 5, 15: 422, and REST framework's own format names the problem."""
    alice(case.method, case.url(), case.data, headers=KEY)
    refused = alice(case.method, case.url(), {**case.data, "extra": 1}, headers=KEY)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency-key-reused")
    assert set(refused.json()) == {"detail", "code"}


@every_view
def test_missing_and_malformed_key_have_a_code(case, alice):
    missing = alice(case.method, case.url("keyed"), case.data)
    malformed = alice(case.method, case.url(), case.data, headers={"Idempotency-Key": "é".encode()})
    assert (missing.status_code, missing.json()["code"]) == (400, "idempotency-key-missing")
    assert (malformed.status_code, malformed.json()["code"]) == (400, "idempotency-key-invalid")


@every_view
def test_too_large_input_has_a_code(case, alice):
    refused = alice(case.method, case.url("small"), {**(case.data or {}), "padding": "x" * 300})
    assert (refused.status_code, refused.json()["code"]) == (413, "input-too-large")


@every_view
def test_refusal_to_wait_has_a_code(case, alice, monkeypatch):
    """Contract 7: 429 at the cap, and 503 without a broker for the view that insists on one."""
    for _ in range(2):
        alice(case.method, case.url("capped"), case.data)
    refused = alice(case.method, case.url("capped"), case.data)
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-jobs")

    def down(*args: Any) -> None:
        raise BrokerUnavailable("down")

    monkeypatch.setattr(Broker, "check", down)
    refused = alice(case.method, case.url("insisting"), case.data)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")


@every_view
def test_outage_has_a_code(case, alice, monkeypatch):
    """Contract 7: 503 while the database is away."""

    def away(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    path = case.url()
    monkeypatch.setattr("async_accept.http.accept.accept", away)
    refused = alice(case.method, path, case.data)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")


def test_active_job_has_a_code(alice):
    """Contract 6: 409."""
    alice.post("/api/gates/refuse/", {"name": "one"})
    refused = alice.post("/api/gates/refuse/", {"name": "one"})
    assert (refused.status_code, refused.json()["code"]) == (409, "already-active")


def enveloping(exc: Exception, context: dict[str, Any]) -> Response | None:
    response = exception_handler(exc, context)
    if response is not None:
        response.data = {"error": {"code": exc.get_codes(), "text": str(exc.detail)}}
    return response


def plain(exc: Exception, context: dict[str, Any]) -> Response | None:
    response = exception_handler(exc, context)
    if response is not None:
        response.data = {"detail": str(exc.detail), "errors": []}
    return response


@pytest.mark.parametrize("kind", CASES)
def test_a_handler_of_the_project_is_left_alone(alice, monkeypatch, kind):
    """Contract 15: it gets a text and a code, and what it makes of them is the answer."""
    case = CASES[kind]
    monkeypatch.setattr(api_settings, "EXCEPTION_HANDLER", enveloping, raising=False)
    refused = alice(case.method, case.url("keyed"), case.data)
    assert refused.json()["error"]["code"] == "idempotency-key-missing"
    assert refused.json()["error"]["text"].startswith("This request needs")

    monkeypatch.setattr(api_settings, "EXCEPTION_HANDLER", plain, raising=False)
    refused = alice(case.method, case.url("keyed"), case.data)
    assert set(refused.json()) == {"detail", "errors"}


def test_other_errors_stay_as_they_are(alice):
    """Contract 15: only what is refused by this library gets a code."""
    for headers in ({"X-Forbid": "1"}, {"X-Throttle": "1"}):
        refused = alice.post("/api/policies/always/class/", SUM, headers=headers)
        assert set(refused.json()) == {"detail"}
    assert set(alice.post("/api/policies/always/class/", {"x": 1}).json()) == {"y"}
