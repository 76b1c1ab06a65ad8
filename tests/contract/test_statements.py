"""How many SQL statements a request costs, token authentication included. Pinned: more is a regression."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from async_accept.http.not_modified import not_modified
from async_accept.jobs import keys
from tests.contract.cases import SUM

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(alice):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=alice.session.headers["Authorization"])
    assert (
        client.post("/api/policies/always/class-task/", SUM).status_code == 202
    )  # what Django looks up once
    return client


def cost(do):
    with CaptureQueriesContext(
        connection,
    ) as queries:
        response = do()
    return response, [query["sql"] for query in queries.captured_queries]


@pytest.mark.parametrize(
    "kind", ["class", "class-task", "method", "function", "function-whole", "function-task"]
)
def test_accept_costs_two(client, kind):
    """Contract 1: the token and the INSERT."""
    response, statements = cost(lambda: client.post(f"/api/policies/always/{kind}/", SUM))
    assert response.status_code == 202
    assert len(statements) <= 2, statements


def test_a_key_costs_two_and_its_repeat_in_another_process_three(client):
    """Contract 5: a look finds a repeat whose key this process has seen; else the INSERT does."""

    def post():
        return client.post("/api/policies/always/class/", SUM, headers={"Idempotency-Key": "k"})

    first, statements = cost(post)
    assert first.status_code == 202
    assert len(statements) <= 2, statements
    for most in (2, 3):
        again, statements = cost(post)
        assert again["Location"] == first["Location"]
        assert len(statements) <= most, statements
        keys.seen.clear()


def test_a_key_that_may_join_costs_more(client):
    """Contract 5, 6: it is looked for before the INSERT and after, in a transaction; to join locks the job."""

    def post(key):
        return client.post("/api/gates/join/", {"name": "one"}, headers={"Idempotency-Key": key})

    first, statements = cost(lambda: post("first"))
    assert first.status_code == 202
    assert len(statements) <= 9, statements
    joined, statements = cost(lambda: post("second"))
    assert joined["Location"] == first["Location"]
    assert len(statements) <= 17, statements
    again, statements = cost(lambda: post("second"))
    assert again["Location"] == first["Location"]
    assert len(statements) <= 3, statements


def test_poll_costs_two_and_one_when_nothing_is_new(client, settings):
    """Contract 11: token and row; 304 from memory costs the token only."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {
        "HEARTBEAT": timedelta(minutes=1)
    }  # on a busy machine too
    monitor = client.post("/api/policies/always/class/", SUM)["Operation-Location"]
    full, statements = cost(lambda: client.get(monitor))
    assert full.status_code == 200
    assert len(statements) <= 2, statements
    unchanged, statements = cost(lambda: client.get(monitor, headers={"If-None-Match": full["ETag"]}))
    assert unchanged.status_code == 304
    assert len(statements) <= 1, statements
    not_modified.sent.clear()
    unchanged, statements = cost(lambda: client.get(monitor, headers={"If-None-Match": full["ETag"]}))
    assert unchanged.status_code == 304
    assert len(statements) <= 2, statements


@pytest.mark.parametrize(("endpoint", "most"), [("result/", 2), ("events/", 2)])
def test_other_reads(client, endpoint, most):
    """Contract 13: R while it waits is as cheap as M."""
    monitor = client.post("/api/policies/always/class/", SUM)["Operation-Location"]
    _, statements = cost(lambda: client.get(monitor + endpoint))
    assert len(statements) <= most, statements


def test_list_costs_the_same_however_many_jobs(client):
    """Contract 9: a page is one query."""
    for _ in range(3):
        client.post("/api/policies/always/class/", SUM)
    response, statements = cost(lambda: client.get("/api/jobs/"))
    assert len(response.data["results"]) == 4
    assert len(statements) <= 2, statements


def test_cancel_costs_three(client):
    """Contract 9: token, row, and the UPDATE."""
    monitor = client.post("/api/policies/always/class/", SUM)["Operation-Location"]
    response, statements = cost(lambda: client.post(f"{monitor}cancel/"))
    assert response.status_code == 202
    assert len(statements) <= 3, statements
