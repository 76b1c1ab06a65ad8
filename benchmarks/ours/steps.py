"""What the benchmarks do in a process of this project."""

import threading
import time
from copy import copy
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Count, Max, Min, Q

from async_accept.db.functions import from_now
from async_accept.jobs.broker import Broker
from async_accept.jobs.due import publish_due
from async_accept.jobs.publish import Waiting, publish
from async_accept.jobs.relay import BROKER_SECONDS, Relay
from async_accept.models import Job, new_id
from async_accept.states import ACTIVE, State

from ..common import accept_statements, client, document, post, prepare, purge, statements_of, truncate
from .hot import grow, measure, paths, profile
from .micro import progress
from .removal import expire, purge_rows

__all__ = [
    "accept_statements",
    "change",
    "due",
    "expire",
    "fill",
    "grow",
    "idle",
    "left",
    "measure",
    "paths",
    "poll_statements",
    "prepare",
    "profile",
    "progress",
    "purge",
    "purge_rows",
    "relay",
    "span",
    "streamed",
]


def poll_statements(known: bool = False, remembered: bool = False) -> list[str]:
    """Return the statements of a poll.

    Args:
        known: the client has the document (304).
        remembered: this process has sent it within a heartbeat.
    """
    from async_accept.http.not_modified import not_modified

    [[path, tag]] = paths(1)
    headers = {"HTTP_IF_NONE_MATCH": tag} if known else {}

    def poll() -> None:
        if not remembered:
            not_modified.sent.clear()
        client().get(path, **headers)

    return statements_of(poll)


def _jobs(count: int, atomic: bool = False) -> list[Job]:
    """Store as many copies of a job that was accepted by its view."""
    truncate(Job)
    pk = document(post("/atomic-orders/" if atomic else "/orders/"))["id"]
    first = Job.objects.get(pk=pk)
    copies = []
    for _ in range(count):
        job = copy(first)
        job.pk = new_id()
        copies.append(job)
    first.delete()
    purge()
    # Far from due: the worker's relay shall not publish what the worker has yet to do.
    made = Job.objects.bulk_create(copies, batch_size=1000)
    Job.objects.update(dispatch_at=from_now(timedelta(hours=1)))
    return made


def fill(count: int, atomic: bool = False) -> None:
    """Publish so many jobs for the worker."""
    publish([Waiting(job.pk, job.task) for job in _jobs(count, atomic=atomic)])


def left() -> int:
    return Job.objects.filter(state__in=ACTIVE).count()


def span() -> dict[str, Any]:
    """Return how many jobs have ended well, and the seconds from the first start to the last end."""
    found = Job.objects.aggregate(
        began=Min("started_at"),
        ended=Max("finished_at"),
        count=Count("pk", filter=Q(state=State.SUCCEEDED)),
    )
    return {"count": found["count"], "seconds": (found["ended"] - found["began"]).total_seconds()}


def due(count: int) -> None:
    """Make so many jobs that the relay is to publish."""
    _jobs(count)
    Job.objects.update(dispatch_at=from_now(timedelta()))


def relay() -> dict[str, Any]:
    """Publish all that is due, and return what that took."""
    broker = Broker(BROKER_SECONDS, confirmed=True)
    began, cpu = time.perf_counter(), time.process_time()
    count = 0
    while published := publish_due(broker):
        count += published
    took = {"count": count, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    broker.close()
    return took


def idle(relays: int, seconds: float) -> dict[str, Any]:
    """Run so many relays with nothing to do, and return their statements a second together, and their CPU."""
    truncate(Job)
    logs, running = [], [Relay() for _ in range(relays)]

    def run(relay: Relay) -> None:
        connection.force_debug_cursor = True
        logs.append(connection.queries_log)
        relay.run()

    threads = [threading.Thread(target=run, args=[relay], daemon=True) for relay in running]
    for thread in threads:
        thread.start()
    time.sleep(min(seconds, 3))
    before, cpu, began = sum(map(len, logs)), time.process_time(), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    found = {
        "statements": (sum(map(len, logs)) - before) / took,
        "cpu": (time.process_time() - cpu) / took,
    }
    for relay in running:
        relay.stop()
    for thread in threads:
        thread.join(10)
    return found


def streamed(count: int, users: int) -> list[list[Any]]:
    """Make so many jobs that wait, shared out among the users; return the path of each one's events, and the user."""
    owners = list(get_user_model()._default_manager.order_by("pk")[:users])
    jobs = _jobs(count)
    for n, job in enumerate(jobs):
        job.owner = owners[n % users]
    Job.objects.bulk_update(jobs, ["owner"], batch_size=500)
    return [[f"/jobs/{job.pk}/events/", n % users] for n, job in enumerate(jobs)]


def change(path: str) -> None:
    """Change a job as a heartbeat does that writes progress."""
    pk = path.split("/")[2]
    shown = {"current": 1, "total": 2, "unit": "", "message": "", "percent": 50.0, "stage": ""}
    Job.objects.filter(pk=pk).update(progress=shown, updated_at=from_now(timedelta()))
