"""A broker that refuses connections, freezes, loses messages, or delivers one many times."""

import time

import pytest

from .client import Accepted, Client
from .conftest import GRACE_SECONDS
from .installation import Installation, installed
from .processes import until

pytestmark = pytest.mark.faults


def test_refusing_broker_delays_the_work_but_not_the_202(shop: Installation, client: Client) -> None:
    shop.broker.kill()
    jobs = [client.drill() for _ in range(12)]
    assert max(job.seconds for job in jobs) < 2.0
    shop.broker.start()
    for job in jobs:
        assert client.wait_for_end(job, seconds=30)["state"] == "succeeded"
        assert client.effects(job) == 1


def test_frozen_broker_costs_one_request_its_timeout(shop: Installation, client: Client) -> None:
    client.drill()
    shop.broker.freeze()
    jobs = [client.drill() for _ in range(20)]
    shop.broker.thaw()
    assert max(job.seconds for job in jobs) < 2.0
    # One request of each web process waits for the timeout, and again after each pause. A busy machine may add some.
    assert sorted(job.seconds for job in jobs)[len(jobs) // 2] < 0.2
    for job in jobs:
        assert client.wait_for_end(job, seconds=30)["state"] == "succeeded"


def accepted_until_queue_holds(messages: int, shop: Installation, client: Client) -> list[Accepted]:
    """Let jobs be accepted until so many messages wait; on a busy machine some are left to the relay."""
    jobs: list[Accepted] = []
    redis = shop.broker.client()  # type: ignore[attr-defined]
    until(lambda: jobs.append(client.drill()) or redis.llen("celery") >= messages, 20)
    return jobs


def test_emptied_broker_loses_messages_but_no_job(shop: Installation, client: Client) -> None:
    for worker in shop.workers:
        worker.freeze()
    jobs = accepted_until_queue_holds(1, shop, client)  # the frozen workers have fetched some
    shop.broker.empty()  # type: ignore[attr-defined]
    for worker in shop.workers:
        worker.thaw()
    for job in jobs:
        assert client.wait_for_end(job, seconds=20)["state"] == "succeeded"
        assert client.effects(job) == 1


def test_broker_that_evicts_its_queue_loses_no_job(shop: Installation, client: Client) -> None:
    """Redis with the eviction policy of a cache, when its memory is full."""
    for worker in shop.workers:
        worker.kill()
    redis = shop.broker.client()  # type: ignore[attr-defined]
    jobs = accepted_until_queue_holds(5, shop, client)
    redis.config_set("maxmemory-policy", "allkeys-lru")
    redis.config_set("maxmemory", redis.info("memory")["used_memory"] + 100_000)
    try:
        numbers = iter(range(100_000))
        until(
            lambda: redis.set(f"junk-{next(numbers)}", "x" * 10_000) and not redis.exists("celery"),
            20,
            pause=0,
        )
    finally:
        redis.config_set("maxmemory", 0)
        redis.config_set("maxmemory-policy", "noeviction")
    for worker in shop.workers:
        worker.start(wait=False)
    for job in jobs:
        assert client.wait_for_end(job, seconds=40)["state"] == "succeeded"
        assert client.effects(job) == 1


def test_messages_lost_late_are_published_before_their_long_step_is_over(
    shop: Installation, client: Client
) -> None:
    """The broker loses a message when the relay would publish it again only after a long step."""
    for worker in shop.workers:
        worker.kill()
    job = client.drill()
    until(lambda: client.row(job)["dispatches"] >= 3, 30, "the steps to grow")
    shop.database.execute(
        "UPDATE async_accept_job SET dispatches = 6, dispatch_at = now() + interval '30 seconds' WHERE id = %s",
        job.id,
    )
    shop.broker.restart()
    shop.workers[0].start()
    began = time.monotonic()
    assert client.wait_for_end(job, seconds=15)["state"] == "succeeded"
    assert time.monotonic() - began < 15


def test_broker_restart_during_the_work_changes_no_job(shop: Installation, client: Client) -> None:
    job = client.drill(ms=2000)
    client.wait_for_begin(job)
    shop.broker.restart()
    later = client.drill()
    row = client.wait_for_end(job)
    assert (row["state"], row["attempt"], client.effects(job)) == ("succeeded", 1, 1)
    assert client.wait_for_end(later, seconds=30)["state"] == "succeeded"


def test_lost_job_is_noticed_without_a_broker(shop: Installation, client: Client) -> None:
    """Leases expire without a broker too, and the relay in a worker takes the job back."""
    shop.relay.kill()
    job = client.drill(ms=60_000)
    client.wait_for_begin(job)
    for worker in shop.workers:
        worker.kill()
    shop.broker.kill()
    shop.workers[0].start(wait=False)
    until(lambda: client.row(job)["state"] == "accepted", 30, "the relay to take the job from its worker")
    client.cancel(job)
    shop.broker.start()


def test_message_delivered_many_times_is_one_attempt(shop: Installation, client: Client) -> None:
    for worker in shop.workers:
        worker.kill()
    job = client.drill(ms=300)
    redis = shop.broker.client()  # type: ignore[attr-defined]
    redis.lpush("celery", *redis.lrange("celery", 0, -1) * 10)
    for worker in shop.workers:
        worker.start(wait=False)
    row = client.wait_for_end(job, seconds=40)
    until(lambda: redis.llen("celery") == 0, 10, "the queue to be empty")
    assert (row["state"], row["attempt"], client.effects(job)) == ("succeeded", 1, 1)
    assert client.notes().count((job.key, "begin", 1)) == 1


def test_no_secret_reaches_a_log_the_broker_or_a_client(shop: Installation, client: Client) -> None:
    """The workers send events (-E). They contain what Celery makes of an exception."""
    redis = shop.broker.client()  # type: ignore[attr-defined]
    with redis.monitor() as monitor:
        jobs = [client.drill("raise"), client.drill("unpicklable")]
        for job in jobs:
            assert client.wait_for_end(job)["state"] == "failed"
        redis.set("the-end", 1)
        seen = []
        for command in monitor.listen():
            seen.append(str(command))
            if "the-end" in command["command"]:
                break
    responses = [client.get(job, what).text for job in jobs for what in ("", "result/")]
    logs = [part.text() for part in (shop.web, shop.relay, *shop.workers)]
    for text in (*seen, *responses, *logs):
        assert "hunter2" not in text
    (traceback,) = shop.database.execute(
        "SELECT traceback FROM django_celery_results_taskresult WHERE task_id = %s", jobs[0].id
    )
    assert "hunter2" in traceback[0]  # people who may read the result storage can see it


def test_rabbitmq_that_freezes_and_dies_loses_no_job(rabbitmq: None) -> None:
    del rabbitmq
    with installed(
        {"LEASE": 3, "HEARTBEAT": 0.5, "RELAY_INTERVAL": 0.5, "REPUBLISH_AFTER": 2}, "rabbitmq"
    ) as shop:
        client = Client(shop)
        for part in (shop.web, shop.workers[0]):
            part.start(wait=False)
        for part in (shop.web, shop.workers[0]):
            part.wait_until_ready()
        jobs = [client.drill(ms=200) for _ in range(5)]
        shop.broker.freeze()
        jobs += [client.drill() for _ in range(5)]
        shop.broker.thaw()
        shop.broker.kill()
        jobs += [client.drill() for _ in range(5)]
        shop.broker.start()
        for job in jobs:
            assert client.wait_for_end(job, seconds=40)["state"] == "succeeded"
            assert client.effects(job) == 1
        assert max(job.seconds for job in jobs[1:]) < 2.0
        until(
            lambda: not shop.violations(GRACE_SECONDS), 30, f"all promises to be kept: {shop.violations(3)}"
        )
