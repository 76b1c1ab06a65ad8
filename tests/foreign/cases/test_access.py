"""10.3: who could send the request can follow it, and nobody learns of another's job."""

from typing import Any

import pytest

from async_accept.testing import run_accepted_jobs

from .twins import Case, caller, send, told

UNKNOWN = "/api/jobs/019ddf92-1b34-7c10-9a52-0f49f25bbd39/"
ALICES = Case("alice's", "/v1/whoami/token/", json={})
NOBODYS = Case("nobody's", "/v1/whoami/anybody/", json={}, caller="nobody")
OWNERS = [
    Case("token", "/v1/whoami/token/", json={}),
    Case("password", "/v1/whoami/basic/", json={}, caller="alice by password"),
    Case("key", "/v1/whoami/key/", json={}, caller="alice by key"),
    Case("session", "/v1/whoami/session/", json={}, caller="alice by session"),
    NOBODYS,
]


@pytest.mark.parametrize("case", OWNERS, ids=str)
def test_follow(case: Case) -> None:
    client = caller(case)
    headers = send(case, client).headers
    seen = [client.get(headers[name]).status_code for name in ("Operation-Location", "Location")]
    assert seen == [200, 202]
    assert client.post(headers["Operation-Location"] + "cancel/").status_code == 202


@pytest.mark.parametrize("case", OWNERS[:-1], ids=str)
def test_list_with(case: Case) -> None:
    client = caller(case)
    send(case, client)
    listed = client.get("/api/jobs/")

    assert listed.status_code == 200
    assert listed.content.count(b"result/") == 1


def _told(response: Any) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in response.headers.items() if name != "Content-Length"}
    return response.status_code, headers, told(response)


ENDPOINTS = [("get", ""), ("get", "result/"), ("post", "cancel/"), ("post", "rerun/"), ("delete", "")]


@pytest.mark.parametrize("call", ENDPOINTS, ids=" ".join)
def test_without_credentials(call: tuple[str, str]) -> None:
    """401, as elsewhere in the project, for an unknown job and for a known one alike."""
    method, endpoint = call
    known = send(ALICES, caller(ALICES)).headers["Operation-Location"]
    nobody = caller(NOBODYS)
    answers = [getattr(nobody, method)(url + endpoint) for url in (known, UNKNOWN)]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].headers["WWW-Authenticate"].startswith("Bearer")
    assert _told(answers[0]) == _told(answers[1])


def test_list_without_credentials() -> None:
    assert caller(NOBODYS).get("/api/jobs/").status_code == 401


def test_wrong_credentials() -> None:
    known = send(ALICES, caller(ALICES)).headers["Operation-Location"]
    forged = {"Authorization": "Bearer a.b.c"}
    answers = [caller(NOBODYS).get(url, headers=forged) for url in (known, UNKNOWN)]

    assert [answer.status_code for answer in answers] == [401, 401]


def test_another_is_as_unknown() -> None:
    known = send(ALICES, caller(ALICES)).headers["Operation-Location"]
    bob = caller(Case("", "", caller="bob by token"))
    answers = [bob.get(url) for url in (known, UNKNOWN)]

    assert answers[0].status_code == 404
    assert _told(answers[0]) == _told(answers[1])


def test_anybody_follows_what_nobody_owns() -> None:
    """Where there is no owner, the URL is the key."""
    monitor = send(NOBODYS, caller(NOBODYS)).headers["Operation-Location"]
    run_accepted_jobs()

    assert caller(NOBODYS).get(monitor).status_code == 200
    assert caller(ALICES).get(monitor).status_code == 200
