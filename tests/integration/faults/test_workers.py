"""Workers that are killed, freeze, or stop."""

import json
import os
import signal
import time

import pytest

from .client import Client
from .installation import QUICK, Installation
from .processes import Part, until

pytestmark = pytest.mark.faults

LEASE = QUICK["LEASE"]


def holder(shop: Installation, row: dict) -> Part:
    """Return the worker that runs the job."""
    return next(part for part in shop.workers if f"worker-{row['worker'].split('@')[0]}" == part.name)


def reasons(row: dict) -> list[str]:
    """Return why each attempt before the last one ended."""
    return [past["reason"] for past in json.loads(row["history"])]


@pytest.fixture
def other_stopped(shop: Installation) -> Installation:
    """Only the first worker runs, so a test knows which worker gets the job."""
    shop.workers[1].kill()
    return shop


def test_power_cut_gives_the_job_to_another_worker(shop: Installation, client: Client) -> None:
    job = client.drill(ms=1500)
    part = holder(shop, client.wait_for_begin(job))
    part.kill()
    cut = time.monotonic()
    row = client.wait_for(job, "accepted", "succeeded", seconds=LEASE + 5)
    assert time.monotonic() - cut < LEASE + 5
    row = client.wait_for_end(job)
    assert (row["state"], row["attempt"], client.effects(job)) == ("succeeded", 2, 1)


def test_killed_child_is_noticed_at_once(client: Client) -> None:
    job = client.drill(ms=1500)
    row = client.wait_for_begin(job)
    os.kill(row["worker_pid"], signal.SIGKILL)
    row = client.wait_for_end(job)
    assert reasons(row) == ["worker: lost"]  # not "lease": its main process has told
    assert (row["state"], row["attempt"], client.effects(job)) == ("succeeded", 2, 1)


def test_poison_job_fails_after_its_last_attempt(client: Client) -> None:
    """It kills five children. No worker is lost, and other jobs do not wait."""
    poison = client.drill("exit")
    sound = client.drill()
    assert client.wait_for_end(sound)["state"] == "succeeded"
    row = client.wait_for_end(poison, seconds=40)
    assert (row["state"], row["attempt"], client.effects(poison)) == ("failed", 5, 0)
    assert client.get(poison).json()["error"]["code"] == "lost"


def test_worker_frozen_beyond_its_lease_writes_nothing(shop: Installation, client: Client) -> None:
    """It continues, and finishes its work, while another attempt has the job."""
    job = client.drill(ms=2500)
    part = holder(shop, client.wait_for_begin(job))
    given_up = part.text().count("AttemptLost")
    part.freeze()
    client.wait_for_begin(job, attempt=2)
    part.thaw()
    until(lambda: part.text().count("AttemptLost") > given_up, 10, "the frozen attempt to give up")
    row = client.row(job)
    assert (row["state"], row["attempt"], client.effects(job)) == ("running", 2, 0)
    row = client.wait_for_end(job)
    assert (row["state"], row["attempt"], client.effects(job)) == ("succeeded", 2, 1)


def test_warm_shutdown_lets_the_job_end(shop: Installation, client: Client) -> None:
    job = client.drill(ms=1500)
    part = holder(shop, client.wait_for_begin(job))
    part.ask_to_stop(signal.SIGTERM)
    part.wait(15)
    row = client.row(job)
    assert (row["state"], row["attempt"], client.effects(job)) == ("succeeded", 1, 1)


def test_cold_shutdown_gives_the_job_back_at_once(shop: Installation, client: Client) -> None:
    job = client.drill(ms=2500)
    part = holder(shop, client.wait_for_begin(job))
    part.ask_to_stop(signal.SIGQUIT)
    row = client.wait_for_end(job)
    assert reasons(row) == ["worker: shut down"]
    assert (row["state"], row["attempt"], client.effects(job)) == ("succeeded", 2, 1)


def test_soft_shutdown_lets_short_jobs_end_and_gives_long_ones_back(
    shop: Installation, client: Client
) -> None:
    """Celery's worker_soft_shutdown_timeout: a warm shutdown for this time, then a cold one."""
    for worker in shop.workers:
        worker.kill()
    soft = shop.worker("soft", "--", "worker_soft_shutdown_timeout=2")
    soft.start()
    try:
        short, long = client.drill(ms=1000), client.drill(ms=6000)
        client.wait_for_begin(short)
        client.wait_for_begin(long)
        soft.ask_to_stop(signal.SIGQUIT)
        row = client.wait_for_end(short)
        assert (row["state"], row["attempt"]) == ("succeeded", 1)
        until(lambda: client.row(long)["history"], 15, "the long job to be given back")
    finally:
        soft.kill()
    shop.workers[0].start()
    row = client.wait_for_end(long)
    assert reasons(row) == ["worker: shut down"]
    assert (row["state"], row["attempt"], client.effects(long)) == ("succeeded", 2, 1)


@pytest.mark.parametrize("where", ["in the worker", "alone"])
def test_one_relay_is_enough(shop: Installation, client: Client, where: str) -> None:
    """The broker was down when the job was accepted, so it was not published. No other relay runs."""
    for part in (*shop.workers, shop.relay):
        part.kill()
    shop.broker.kill()
    job = client.drill()
    shop.broker.start()
    inside = where == "in the worker"
    worker = shop.worker("only", ASYNC_ACCEPT_RELAY_IN_WORKER=str(int(inside)))
    worker.start()
    try:
        if not inside:
            time.sleep(QUICK["REPUBLISH_AFTER"] + 1)
            assert client.row(job)["dispatches"] == 0  # really no relay runs
            shop.relay.start()
        assert client.wait_for_end(job)["state"] == "succeeded"
    finally:
        worker.kill()


def test_waiting_jobs_are_taken_over_when_a_worker_joins(other_stopped: Installation, client: Client) -> None:
    """The first worker has fetched them in advance, and is killed."""
    jobs = [client.drill(ms=300) for _ in range(10)]
    client.wait_for_begin(jobs[0])
    other_stopped.workers[0].kill()
    other_stopped.workers[1].start()
    for job in jobs:
        assert client.wait_for_end(job, seconds=LEASE + 20)["state"] == "succeeded"
        assert client.effects(job) == 1


def test_retry_survives_a_kill(shop: Installation, client: Client) -> None:
    job = client.drill("retry", ms=800)
    part = holder(shop, client.wait_for_begin(job, attempt=2))
    part.kill()
    row = client.wait_for_end(job, seconds=LEASE + 15)
    assert (row["state"], client.effects(job)) == ("succeeded", 1)
    assert 3 <= row["attempt"] <= 4


def test_cancel_survives_a_restart(shop: Installation, client: Client) -> None:
    """The worker is frozen during the cancel, so only the relay can end the job."""
    job = client.drill(ms=30_000)
    part = holder(shop, client.wait_for_begin(job))
    part.freeze()
    assert client.cancel(job).status_code == 202
    part.restart()
    row = client.wait_for_end(job, seconds=LEASE + 10)
    assert (row["state"], row["attempt"], client.effects(job)) == ("canceled", 1, 0)


def test_cancel_racing_the_end_has_one_winner(client: Client) -> None:
    """The cancels come at different times around the end, so that each side wins some."""
    ends = {"succeeded": 0, "canceled": 0}
    for number in range(6):
        job = client.drill(ms=900)
        client.wait_for_begin(job)
        time.sleep(0.16 * number)
        response = client.cancel(job)
        row = client.wait_for_end(job)
        ends[row["state"]] += 1
        assert client.effects(job) == (row["state"] == "succeeded")
        # 409: it was too late. 202: the job was asked to stop, and may have ended first all the same.
        assert response.status_code == 202 or row["state"] == "succeeded"
    assert ends["succeeded"]
    assert ends["canceled"]


@pytest.mark.parametrize("limit", ["--time-limit", "--soft-time-limit"])
def test_time_limit_ends_the_job_for_good(shop: Installation, client: Client, limit: str) -> None:
    """The hard limit kills the child, so the worker's main process must store the problem."""
    for worker in shop.workers:
        worker.kill()
    limited = shop.worker("limited", limit, "1")
    limited.start()
    try:
        job = client.drill(ms=8000)
        row = client.wait_for_end(job)
        assert (row["state"], row["attempt"], client.effects(job)) == ("failed", 1, 0)
        assert client.get(job).json()["error"]["code"] == "time-limit"
        sound = client.drill()
        assert client.wait_for_end(sound)["state"] == "succeeded"
    finally:
        limited.kill()


def test_revoking_with_terminate_cancels_the_job(shop: Installation, client: Client) -> None:
    job = client.drill(ms=20_000)
    client.wait_for_begin(job)
    shop.celery("control", "terminate", "KILL", job.id)
    row = client.wait_for_end(job, seconds=5)
    assert (row["state"], row["attempt"], client.effects(job)) == ("canceled", 1, 0)
