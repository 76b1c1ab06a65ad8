"""A database that is down or frozen, at several moments of a job's life."""

import time

import pytest

from .account import failures
from .client import Accepted, Client
from .installation import Installation
from .processes import until

pytestmark = pytest.mark.faults


def begun(client: Client, job: Accepted) -> None:
    until(lambda: (job.key, "begin", 1) in client.notes(), 15, "the work to begin")


def test_outage_at_the_moment_of_the_result(shop: Installation, client: Client) -> None:
    """The commit fails, so neither effect nor result is stored. A second attempt does the work again."""
    job = client.drill(ms=800)
    begun(client, job)
    shop.database.crash()
    time.sleep(1.5)  # meanwhile the work ends
    shop.database.start()
    row = client.wait_for_end(job, seconds=30)
    assert (row["state"], client.effects(job)) == ("succeeded", 1)
    assert row["attempt"] == 2


def test_frozen_database_takes_no_job_from_a_healthy_worker(shop: Installation, client: Client) -> None:
    """It is frozen for longer than a lease, so afterwards all leases have expired."""
    slow = client.drill("unserializable", ms=9000)
    begun(client, slow)
    shop.database.freeze()
    time.sleep(4.5)
    shop.database.thaw()
    row = client.wait_for_end(slow, seconds=30)
    assert (row["state"], row["attempt"], row["history"]) == ("failed", 1, None)
    assert row["problem"] is not None


def test_failure_is_kept_until_the_database_is_back(shop: Installation, client: Client) -> None:
    """The attempt that failed keeps its problem, and stores it later. There is no second attempt."""
    job = client.drill("raise", ms=800)
    begun(client, job)
    shop.database.crash()
    time.sleep(1.5)
    shop.database.start()
    row = client.wait_for_end(job, seconds=30)
    assert (row["state"], row["attempt"], row["history"]) == ("failed", 1, None)
    assert client.effects(job) == 0


def test_success_is_kept_until_the_database_is_back(shop: Installation, client: Client) -> None:
    """The work is not atomic, so its effects are there. It must not run again only to store its result."""
    job = client.report(rows=25_000)  # takes some seconds after it has read the orders
    query = "SELECT 1 FROM async_accept_job WHERE id = %s AND progress IS NOT NULL"
    until(lambda: shop.database.execute(query, job.id), 15, "the work to have read the orders")
    shop.database.crash()
    time.sleep(2.5)
    shop.database.start()
    row = client.wait_for_end(job, seconds=30)
    assert (row["state"], row["attempt"], row["history"]) == ("succeeded", 1, None)
    assert client.get(job, "result/").json()["rows"] == 25_000


def test_outage_fails_work_that_must_not_be_repeated(shop: Installation, client: Client) -> None:
    job = client.drill(ms=3000, work="once")  # it writes in the middle
    begun(client, job)
    shop.database.crash()
    time.sleep(2.5)
    shop.database.start()
    row = client.wait_for_end(job, seconds=30)
    assert (row["state"], row["attempt"], client.effects(job)) == ("failed", 1, 0)
    assert client.get(job, "result/").json()["code"] == "failed"
    assert failures(shop.database) == {job.id: "OperationalError"}


def test_requests_get_503_with_retry_after(shop: Installation, client: Client) -> None:
    job = client.drill()
    client.wait_for_end(job)
    shop.database.crash()
    for send in (client.post, lambda: client.get(job), lambda: client.get(job, "result/")):
        began = time.monotonic()
        response = send()
        assert (response.status_code, int(response.headers["Retry-After"]) >= 1) == (503, True)
        assert time.monotonic() - began < 5
    shop.database.start()
    assert client.get(job).json()["status"] == "succeeded"
    assert client.wait_for_end(client.drill())["state"] == "succeeded"
