"""10.1: what is ours speaks one dialect, whatever the view's and the project's renderers are."""

import json
from typing import Any

import pytest

from async_accept.models import Job
from async_accept.testing import run_accepted_jobs

from .twins import Case, caller, send, told

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
#: Members of a status document that camel case or an envelope would change.
MEMBERS = {"id", "status", "result_url", "created_at", "rerun_of", "can_rerun"}
TIMES = {"updated_at", "started_at", "finished_at", "expires_at"}

VIEWS = [
    Case("enveloped", "/v1/whoami/token/", json={}),
    Case("camel case", "/v1/legacy/", json={}),
    Case("plain JSON", "/v1/bare/", json={}),
    Case("CSV by Accept", "/v1/report", json={}, headers={"Accept": "text/csv"}),
    Case("CSV by format", "/v1/report?format=csv", json={}),
    Case("XML by Accept", "/v1/report", json={}, headers={"Accept": "application/xml"}),
    Case("XML by suffix", "/v1/report.xml", json={}),
    Case("XLSX by Accept", "/v1/report", json={}, headers={"Accept": XLSX}),
    Case("only CSV", "/v1/office/", json={}),
    Case("only XLSX", "/v1/sheet/", json={}),
    Case("only CSV, not negotiated", "/v1/fixed/", json={}),
    Case("only PDF", "/v1/letter/", json={"subject": "Grüße"}),
    Case(
        "only PDF as asked", "/v1/letter/", json={"subject": "Grüße"}, headers={"Accept": "application/pdf"}
    ),
    Case("only XML from a function", "/v1/quote/", json={"units": 1}),
]
SIMPLE = VIEWS[0]


def document(response: Any) -> dict[str, Any]:
    """Return a JSON document of ours."""
    assert response.headers["Content-Type"].partition(";")[0] in (
        "application/json",
        "application/problem+json",
    )
    found: dict[str, Any] = json.loads(told(response))
    return found


@pytest.mark.parametrize("case", VIEWS, ids=str)
def test_accepted(case: Case) -> None:
    response = send(case, caller(case))

    assert response.status_code == 202
    assert {"Location", "Operation-Location", "Retry-After"} <= response.headers.keys()
    assert document(response).keys() >= MEMBERS
    assert Job.objects.count() == 1


@pytest.mark.parametrize("case", VIEWS, ids=str)
def test_content_location(case: Case) -> None:
    """The 202's body is what its Content-Location gives."""
    client = caller(case)
    response = send(case, client)
    assert response.status_code == 202

    monitor = client.get(response.headers["Content-Location"])

    assert monitor.status_code == 200
    assert (monitor.headers["Content-Type"], told(monitor)) == (
        response.headers["Content-Type"],
        told(response),
    )


@pytest.mark.parametrize("case", VIEWS, ids=str)
def test_repeat(case: Case) -> None:
    client = caller(case)
    first, second = (send(case, client, **{"Idempotency-Key": "k"}) for _ in "12")

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.headers["Location"] == second.headers["Location"]


def test_monitor() -> None:
    client = caller(SIMPLE)
    monitor = send(SIMPLE, client).headers["Operation-Location"]
    run_accepted_jobs()

    for accept in ("", "*/*", "application/json", "application/json, text/csv;q=0.1"):
        found = document(client.get(monitor, headers={"Accept": accept} if accept else {}))
        assert found.keys() >= MEMBERS | TIMES
        assert found["status"] == "succeeded"


@pytest.mark.parametrize("accept", ["", "application/json", "text/csv", "application/pdf"])
def test_result_of_an_active_job(accept: str) -> None:
    """Whoever asks for a table waits for it by the same documents."""
    client = caller(SIMPLE)
    headers = {"Accept": accept} if accept else {}
    result = client.get(send(SIMPLE, client).headers["Location"], headers=headers)

    assert result.status_code == 202
    assert document(result).keys() >= MEMBERS


def test_list_of_jobs() -> None:
    client = caller(SIMPLE)
    send(SIMPLE, client)

    rows = document(client.get("/api/jobs/")).get("results", [])
    assert [row.keys() >= MEMBERS for row in rows] == [True]


def test_problem_of_an_unknown_job() -> None:
    problem = caller(SIMPLE).get("/api/jobs/019ddf92-1b34-7c10-9a52-0f49f25bbd39/")

    assert problem.status_code == 404
    assert problem.headers["Content-Type"].startswith("application/problem+json")
    assert document(problem).keys() >= {"type", "title", "status", "detail", "code"}


def test_problem_of_a_list() -> None:
    problem = caller(SIMPLE).get("/api/jobs/?status=never")

    assert problem.status_code == 400
    assert document(problem)["status"] == 400


def test_problem_of_what_cannot_be_canceled() -> None:
    client = caller(SIMPLE)
    monitor = send(SIMPLE, client).headers["Operation-Location"]
    run_accepted_jobs()
    problem = client.post(monitor + "cancel/")

    assert problem.status_code == 409
    assert document(problem)["code"] == "already-ended"


def test_canceled() -> None:
    client = caller(SIMPLE)
    monitor = send(SIMPLE, client).headers["Operation-Location"]

    assert document(client.post(monitor + "cancel/")).get("status") == "canceled"


def test_rerun() -> None:
    client = caller(SIMPLE)
    monitor = send(SIMPLE, client).headers["Operation-Location"]
    run_accepted_jobs()
    again = client.post(monitor + "rerun/")

    assert again.status_code == 202
    assert document(again).get("rerun_of") == monitor.rstrip("/").rpartition("/")[2]


def test_failure_in_the_monitor() -> None:
    """The host's own document stands inside of a problem."""
    case = Case("", "/v1/work/raise_conflict/", json={})
    client = caller(case)
    monitor = send(case, client).headers["Operation-Location"]
    run_accepted_jobs()
    error = document(client.get(monitor)).get("error", {})

    assert error.keys() >= {"type", "title", "status", "detail", "code"}
    assert error["status"] == 409
    assert "The shelf is empty." in json.dumps(error)
    assert "/v1/work/raise_conflict/" in json.dumps(error)  # as the company tells it


def test_page_of_an_ended_job() -> None:
    client = caller(SIMPLE)
    monitor = send(SIMPLE, client).headers["Operation-Location"]
    run_accepted_jobs()
    page = client.get(monitor, headers={"Accept": "text/html"})

    assert page.headers["Content-Type"].startswith("text/html")
    assert "rerun/" in page.content.decode()
    assert "Refresh" not in page.headers


def test_page_around_a_result() -> None:
    """A browser gets the JSON in a page."""
    client = caller(SIMPLE)
    result = send(SIMPLE, client).headers["Location"]
    run_accepted_jobs()
    page = client.get(result, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    assert page.headers["Content-Type"].startswith("text/html")
    assert "alice@shop.example" in page.content.decode()


def test_options() -> None:
    """OPTIONS is the view's own, in its own dialect, and tells the terms of accepting."""
    response = caller(SIMPLE).options(SIMPLE.path)

    assert response.status_code == 200
    assert "data" in json.loads(response.content)
