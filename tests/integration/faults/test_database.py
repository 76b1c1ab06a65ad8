"""A database that goes away, at any moment of a job's life."""

import time

import pytest

from .client import Accepted, Client
from .installation import Installation
from .processes import until

pytestmark = pytest.mark.faults


def begun(client: Client, job: Accepted) -> None:
    until(lambda: (job.key, "begin", 1) in client.notes(), 15, "the work to begin")


def test_outage_at_the_moment_of_the_outcome(shop: Installation, client: Client) -> None:
    """The commit fails, and with it effect and outcome; the work is safe to repeat, and is repeated."""
    job = client.submit(ms=800)
    begun(client, job)
    shop.database.crash()
    time.sleep(1.5)  # the work goes on, and comes to its end
    shop.database.start()
    row = client.wait_for_end(job, seconds=30)
    assert (row["state"], client.effects(job)) == ("succeeded", 1)
    assert row["attempt"] == 2


def test_restart_of_the_database_takes_no_job_from_a_healthy_worker(
    shop: Installation, client: Client
) -> None:
    """Longer than the lease, so that every lease looks lost when the database is back."""
    slow = client.submit("unserializable", ms=9000)
    begun(client, slow)
    shop.database.freeze()
    time.sleep(4.5)
    shop.database.thaw()
    row = client.wait_for_end(slow, seconds=30)
    assert (row["state"], row["attempt"], row["history"]) == ("failed", 1, None)
    assert row["problem"] is not None


def test_failure_is_kept_until_the_database_is_back(shop: Installation, client: Client) -> None:
    """By the attempt that failed: nothing is run again for it."""
    job = client.submit("raise", ms=800)
    begun(client, job)
    shop.database.crash()
    time.sleep(1.5)
    shop.database.start()
    row = client.wait_for_end(job, seconds=30)
    assert (row["state"], row["attempt"], row["history"]) == ("failed", 1, None)
    assert client.effects(job) == 0


def test_success_is_kept_until_the_database_is_back(shop: Installation, client: Client) -> None:
    """Work that is not atomic has had its effects; it must not be done again for want of a place to say so."""
    job = client.report(rows=25_000)  # some seconds' work, once it has read the orders
    query = "SELECT 1 FROM async_accept_job WHERE id = %s AND progress IS NOT NULL"
    until(lambda: shop.database.execute(query, job.id), 15, "the work to have read what it needs")
    shop.database.crash()
    time.sleep(2.5)
    shop.database.start()
    row = client.wait_for_end(job, seconds=30)
    assert (row["state"], row["attempt"], row["history"]) == ("succeeded", 1, None)
    assert client.get(job, "result/").json()["rows"] == 25_000


def test_requests_are_told_to_come_back(shop: Installation, client: Client) -> None:
    job = client.submit()
    client.wait_for_end(job)
    shop.database.crash()
    for ask in (client.post, lambda: client.get(job), lambda: client.get(job, "result/")):
        began = time.monotonic()
        response = ask()
        assert (response.status_code, int(response.headers["Retry-After"]) >= 1) == (503, True)
        assert time.monotonic() - began < 5
    shop.database.start()
    assert client.get(job).json()["status"] == "succeeded"
    assert client.wait_for_end(client.submit())["state"] == "succeeded"
