"""10.8: details of HTTP that need no server. Those that need one stand in ``test_served.py``."""

import json
from typing import Any

import pytest

from .twins import Case, caller, send

SIMPLE = Case("", "/v1/whoami/token/", json={})


def test_long_wait_is_capped(settings: Any) -> None:
    settings.ASYNC_ACCEPT = {"MAX_WAIT_SECONDS": 1}
    client = caller(SIMPLE)
    result = send(SIMPLE, client).headers["Location"]

    waited = client.get(result, headers={"Prefer": "wait=99999999999"})

    assert waited.headers.get("Preference-Applied") == "wait=1"


def test_lower_case_zone_in_a_time() -> None:
    """RFC 3339, section 5.6, lets it be written so."""
    listed = caller(SIMPLE).get("/api/jobs/?created_after=2025-11-03t09:30:00z")

    assert listed.status_code == 200


def test_list_is_private() -> None:
    assert caller(SIMPLE).get("/api/jobs/").headers.get("Cache-Control") == "private, no-cache"


@pytest.mark.parametrize("url", ["/api/jobs/nothing/", "/api/jobs/?status=never"])
def test_language_of_problems(url: str) -> None:
    """Problems are told in one language, and say which."""
    client = caller(SIMPLE)
    answers = [client.get(url, headers={"Accept-Language": language}) for language in ("en", "de")]

    assert answers[0].content == answers[1].content
    assert [answer.headers["Content-Language"] for answer in answers] == ["en", "en"]


def test_refusal_has_a_code_for_the_host() -> None:
    """The company's own handler tells refusals of ours as all others."""
    client = caller(SIMPLE)
    first = send(SIMPLE, client, **{"Idempotency-Key": "k"})
    other = send(Case("", SIMPLE.path, json={"other": 1}), client, **{"Idempotency-Key": "k"})

    assert (first.status_code, other.status_code) == (202, 422)
    assert json.loads(other.content)["error"]["code"] == "idempotency-key-reused"


def test_malformed_key_has_a_code_for_the_host() -> None:
    refused = send(SIMPLE, caller(SIMPLE), **{"Idempotency-Key": ""})

    assert refused.status_code == 400
    assert json.loads(refused.content)["error"]["code"] == "idempotency-key-invalid"
