"""Notices: processes that are killed between the end of a job and its delivery, and a receiver that misbehaves."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import psycopg
import pytest
import requests

from .apps import LEASE_SECONDS
from .client import Client
from .inbox import SECRET, Inbox, Manner, Try, moods, well
from .installation import Installation
from .processes import Part, until
from .weather import REGISTER

pytestmark = pytest.mark.faults

#: How long a delivery may take after its sender was killed: its lease, and the start of a new one.
PATIENCE = LEASE_SECONDS + 15
CANCELED = """
from datetime import timedelta
from async_accept.models import Job, database_now
from django.contrib.auth import get_user_model
owner = get_user_model().objects.get(username="faults")
later = database_now() + timedelta(hours=1)
for number in range({count}):
    Job.objects.create(operation="drills.create", task="none", owner=owner, dispatch_at=later).cancel()
"""


@pytest.fixture(scope="module")
def registered(installation: Installation) -> Iterator[Inbox]:
    """A receiver that is told of each end, until the end of this module."""
    inbox = Inbox()
    url = f"http://127.0.0.1:{inbox.port}/hook"
    installation.manage("shell", "--verbosity", "0", "-c", REGISTER.format(url=url, secret=SECRET))
    yield inbox
    inbox.stop()
    installation.database.execute("DELETE FROM async_accept_webhooks_endpoint")


@pytest.fixture
def inbox(registered: Inbox, shop: Installation) -> Iterator[Inbox]:
    del shop  # its tables are empty now
    registered.tries.clear()
    registered.choose = well
    registered.start()
    yield registered
    registered.stop()


@pytest.fixture(scope="module")
def sender(installation: Installation) -> Iterator[Part]:
    """A worker that sends notices, and does nothing else. A test starts it."""
    part = installation.worker("notices", "--queues", "webhooks", "-P", "threads", "-c", "20")
    yield part
    part.kill()


@pytest.fixture
def teller(sender: Part) -> Part:
    if not sender.runs:
        sender.start()
    return sender


def rows(shop: Installation) -> list[tuple[Any, ...]]:
    """Return job, event and state of each delivery."""
    query = "SELECT job_id::text, event, state FROM async_accept_webhooks_delivery"
    return shop.database.execute(query)


def told(inbox: Inbox) -> list[Try]:
    return [came for came in inbox.tries if came.is_heard]


def test_worker_killed_before_it_could_publish_loses_no_notice(
    shop: Installation, client: Client, inbox: Inbox, sender: Part
) -> None:
    """The broker is away when the job ends, so nobody but the row knows of the notice."""
    sender.kill()
    job = client.drill(ms=1500)
    client.wait_for_begin(job)
    shop.relay.kill()
    shop.broker.kill()
    until(lambda: rows(shop), 10, "the job to end", pause=0.005)
    for worker in shop.workers:
        worker.kill()
    assert rows(shop) == [(job.id, "job.succeeded", "waiting")]
    assert inbox.tries == []
    for part in (shop.broker, *shop.workers, sender):
        part.start(wait=False)
    until(lambda: told(inbox), PATIENCE, "the notice")
    assert [came.document["data"]["id"] for came in inbox.tries] == [job.id]


def test_web_killed_before_it_could_publish_loses_no_notice(
    shop: Installation, client: Client, inbox: Inbox, sender: Part
) -> None:
    """A job that waits ends in the web process that cancels it."""
    for part in (sender, *shop.workers, shop.relay):
        part.kill()
    job = client.drill()
    shop.broker.freeze()  # so that the request waits for it after the job has ended
    canceling = threading.Thread(target=_cancel, args=(client, job.monitor))
    canceling.start()
    until(lambda: rows(shop), 10, "the job to end", pause=0.005)
    shop.web.kill()
    canceling.join()
    shop.broker.restart()  # without what may be in its socket
    for part in (shop.web, shop.relay, sender):
        part.start(wait=False)
    until(lambda: told(inbox), PATIENCE, "the notice")
    assert rows(shop) == [(job.id, "job.canceled", "delivered")]


def test_sender_killed_before_the_answer_sends_again(
    client: Client, inbox: Inbox, teller: Part, shop: Installation
) -> None:
    manners = iter([Manner("kill", 0, lambda handler: teller.kill())])
    inbox.choose = lambda: next(manners, well())
    client.drill()
    until(lambda: inbox.tries, 10, "the first try")
    until(lambda: not teller.runs, 10, "the sender to die")
    teller.start()
    until(lambda: told(inbox), PATIENCE, "the notice")
    first, second = inbox.tries
    assert (first.id, first.body) == (second.id, second.body)
    until(lambda: rows(shop)[0][2] == "delivered", 5)


def test_sender_killed_before_it_could_store_the_answer_sends_again_with_the_same_id(
    client: Client, inbox: Inbox, teller: Part, shop: Installation
) -> None:
    """The test has locked the row when it answers, so the sender waits until it is killed."""
    lock = psycopg.connect(shop.database.url)
    answered = threading.Event()

    def answer_behind_lock(handler: Any) -> None:
        lock.execute("SELECT 1 FROM async_accept_webhooks_delivery FOR UPDATE")
        well().behave(handler)
        answered.set()

    manners = iter([Manner("locked", 204, answer_behind_lock)])
    inbox.choose = lambda: next(manners, well())
    client.drill()
    assert answered.wait(10)
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    until(lambda: shop.database.execute(waiting), 10, "the sender to wait for the row")
    teller.kill()
    # Else its statement would be done all the same: the server notices late that its client is gone.
    lock.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM ({waiting}) sender")
    lock.close()
    assert rows(shop)[0][2] == "sending"
    teller.start()
    until(lambda: len(told(inbox)) == 2, PATIENCE, "the second notice")
    assert len({(came.id, came.body) for came in inbox.tries}) == 1
    until(lambda: rows(shop)[0][2] == "delivered", 5)


def _cancel(client: Client, monitor: str) -> None:
    with suppress(requests.RequestException):
        client.session.post(f"{monitor}cancel/", timeout=60)


# --- A receiver that misbehaves ---------------------------------------------------------------------------

EVENTS = 500
#: Half a minute of it is pauses; the rest depends on the machine.
TRIAL_SECONDS = 300


def test_each_event_arrives_once_at_a_receiver_that_fails_stalls_redirects_and_dies(
    shop: Installation, inbox: Inbox, teller: Part
) -> None:
    """At least once, under one id, and not again after a 2xx; Retry-After is kept."""
    inbox.choose = moods(1)
    shop.manage("shell", "--verbosity", "0", "-c", CANCELED.format(count=EVENTS))
    for _ in range(3):
        time.sleep(1)
        inbox.kill()
        time.sleep(1)
        inbox.start()
    waiting = "SELECT count(*) FROM async_accept_webhooks_delivery WHERE state <> 'delivered'"
    until(lambda: not shop.database.execute(waiting)[0][0], TRIAL_SECONDS, "all deliveries")
    tries = inbox.tries_by_id()
    assert len(tries) == EVENTS
    assert len({ones[0].document["data"]["id"] for ones in tries.values()}) == EVENTS
    for ones in tries.values():
        assert [came.error for came in ones if came.error] == []
        assert len({came.body for came in ones}) == 1
        assert [came.is_heard for came in ones] == [False] * (len(ones) - 1) + [True], ones
        for before, after in pairwise(ones):
            assert before.manner != "429, seconds" or after.began - before.ended >= 1.9
    assert inbox.astray == []
    assert {came.manner for came in inbox.tries} >= {
        "503",
        "429, seconds",
        "429, date",
        "redirect",
        "hang up",
    }
