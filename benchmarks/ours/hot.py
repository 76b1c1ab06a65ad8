"""The steps that every job takes, each as a call: what it costs while the table grows, and what it calls."""

import random
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import cycle
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from django.core.cache import cache
from django.db import connection

from async_accept.db.functions import from_now
from async_accept.jobs.broker import Broker
from async_accept.jobs.due import publish_due
from async_accept.jobs.publish import run_here
from async_accept.jobs.relay import BROKER_SECONDS, Relay
from async_accept.models import Job
from async_accept.states import ACTIVE, State

from ..common import client, document, post, purge
from ..make_jobs import make_jobs
from ..profiling import Step, answers, profile_of
from ..statements import timed_statements
from .copies import copy_into_the_past
from .tasks import process

#: How many jobs the relay publishes in its step.
DUE = 100
#: How many jobs are polled in turn. So many that no poll is throttled.
POLLED = 10
#: How many days the jobs span: no row is due to be purged.
DAYS = 29


def grow(count: int, made: int = 100_000) -> int:
    """Fill the empty table with about so many jobs; return how many there are.

    Args:
        made: so many of them are made one by one; on PostgreSQL all others are copies of them.
    """
    copies = 0 if connection.vendor != "postgresql" else max(count // made - 1, 0)
    days = DAYS / (copies + 1)
    make_jobs(count - copies * made, days, random.Random(202))
    if copies:
        copy_into_the_past(copies, timedelta(days=days))
    return Job.objects.count()


def measure(calls: int) -> dict[str, dict[str, float]]:
    """Return for each step its statements, and the medians of its whole time, its SQL and its CPU, in seconds."""
    # What the filler has left active is due, and would be the relay's to publish; and every second a result expires.
    tomorrow = from_now(timedelta(days=1))
    Job.objects.filter(state__in=ACTIVE, dispatch_at__isnull=False).update(dispatch_at=tomorrow)
    Job.objects.filter(sweep_at__lt=from_now(timedelta(hours=1))).update(sweep_at=tomorrow)
    found = {name: _measure(step, calls) for name, step in {**hot_steps(), **cold_steps()}.items()}
    purge()
    return found


def profile(name: str, calls: int) -> list[list[Any]]:
    return profile_of(hot_steps()[name], calls)


def hot_steps() -> dict[str, Step]:
    """Return the steps that every job takes, each with what prepares a call of it."""
    polled, asking, broker = cycle(paths(POLLED)), client(), Broker(BROKER_SECONDS, confirmed=True)
    return {
        "accept": Step(lambda _: post(), answers(202)),
        "poll": Step(lambda job: asking.get(job[0]), answers(200), polled.__next__),
        "poll, 304": Step(
            lambda job: asking.get(job[0], HTTP_IF_NONE_MATCH=job[1]), answers(304), polled.__next__
        ),
        "claim and finish": Step(run_here, _has_succeeded, _accepted),
        f"relay, {DUE} due": Step(lambda _: publish_due(broker), lambda _, count: count >= DUE, _due),
    }


def cold_steps() -> dict[str, Step]:
    from django.test import Client

    from ..admin_pages import LIST, staff

    asking, browser, relay = client(), Client(), Relay()
    browser.force_login(staff())
    pages = {
        "admin, list": "",
        "admin, filter by state": "?state=failed",
        "admin, filter by time": "?created=7d",
        "admin, search an operation": "?q=stock.recount",
        "admin, search an owner": "?q=owner:customer-000",
        "admin, dashboard": "dashboard/",
    }
    return {
        "relay, nothing due": Step(lambda _: relay.tick()),
        "list": Step(lambda _: asking.get("/jobs/"), answers(200)),
        **{
            name: Step(_getter(browser, LIST + page), answers(200), cache.clear)
            for name, page in pages.items()
        },
    }


def _getter(browser: Any, url: str) -> Callable[[Any], Any]:
    return lambda _: browser.get(url)


def paths(count: int) -> list[list[str]]:
    """Accept so many jobs, and return the path and the entity tag of each one's status monitor."""
    found = [urlsplit(document(post())["url"]).path for _ in range(count)]
    asking = client()
    return [[path, asking.get(path)["ETag"]] for path in found]


def _has_succeeded(job: Job, returned: None) -> bool:
    return Job.objects.filter(pk=job.pk, state=State.SUCCEEDED).exists()


def _accepted() -> Job:
    return Job.objects.get(pk=document(post())["id"])


def _due() -> None:
    """Make ``DUE`` of this benchmark's jobs due, for the first time."""
    waiting = Job.objects.filter(state="accepted", task=process.name)
    ids = list(waiting.order_by("-id").values_list("pk", flat=True)[:DUE])
    ids += [document(post())["id"] for _ in range(DUE - len(ids))]
    Job.objects.filter(pk__in=ids).update(dispatch_at=from_now(timedelta()), dispatches=0)


def _measure(step: Step, calls: int) -> dict[str, float]:
    step()
    wholes, cpus, sqls, statements = [], [], [], 0
    for _ in range(calls):
        given = step.prepare()
        whole, cpu = time.perf_counter(), time.process_time()
        with timed_statements() as times:
            returned = step.call(given)
        cpus.append(time.process_time() - cpu)
        wholes.append(time.perf_counter() - whole)
        sqls.append(sum(times))
        statements = len(times)
        step.check(given, returned)
    return {
        "statements": statements,
        "whole": median(wholes),
        "sql": median(sqls),
        "cpu": median(cpus),
    }
