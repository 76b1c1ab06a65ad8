"""``USE_TZ = False``: every page, document and time works, in UTC and in another zone, on every database."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from celery import shared_task
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from async_accept.admin.statistics import collect
from async_accept.admin.timeline import timeline
from async_accept.jobs.accept import accept
from async_accept.jobs.relay import Relay
from async_accept.jobs.retention import sweep
from async_accept.models import Job, database_now
from async_accept.tasks import JobTask
from async_accept.testing import make_job, run_accepted_jobs
from tests.testapp import tasks

PROGRESS = {"current": 1, "total": 2, "unit": "", "message": "", "percent": 50.0, "stage": ""}
LIST = "/admin/async_accept/job/"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True, params=["UTC", "Asia/Kolkata"])
def zone(request, settings):
    """The zone of the naive times."""
    settings.TIME_ZONE = request.param
    settings.USE_TZ = False
    cache.clear()  # the figures of the dashboard, whose times have the zone of another test
    yield request.param
    cache.clear()
    connection.close()


@shared_task(base=JobTask, bind=True)
def comes_back(self):
    if not self.request.retries:
        raise self.retry(eta=datetime.now(UTC) + timedelta(hours=1))
    return "done"


@pytest.fixture
def jobs(alice):
    """One job of each kind that a page shows."""
    now, hour = database_now(), timedelta(hours=1)
    past = {"attempt": 1, "worker": "w", "started_at": now - hour, "ended_at": now, "reason": "lease"}
    return [
        make_job(tasks.add, owner=alice, created_at=now - 2 * hour),
        make_job(tasks.add, owner=alice, attempt=1, history=[past]),
        make_job(tasks.add, state="running", owner=alice, started_at=now, progress={**PROGRESS}),
        make_job(tasks.add, state="failed", owner=alice),
        make_job(tasks.add, state="succeeded", owner=alice, created_at=now - 24 * 9 * hour),
    ]


def moments(document):
    names = ("created_at", "started_at", "updated_at", "finished_at", "expires_at")
    return [datetime.fromisoformat(document[name]) for name in names if document[name]]


def test_every_page_of_the_admin(boss, jobs):
    queries = ["", "?created=24h", "?state__exact=failed", "?attention=1", "?mine=1", "?q=add", "?o=-1"]
    pages = [f"{LIST}{query}" for query in queries] + [f"{LIST}{job.pk}/change/" for job in jobs]
    for url in [*pages, f"{LIST}dashboard/"]:
        assert boss.get(url).status_code == 200, url
    chosen = {"action": "export", "confirmed": "yes", "_selected_action": [str(job.pk) for job in jobs]}
    lines = b"".join(boss.post(LIST, chosen).streaming_content).decode().splitlines()
    assert len(lines) == 1 + len(jobs)
    assert "+00:00" in lines[1] or "+05:30" in lines[1]


def test_the_figures_and_the_chart(jobs):
    figures = collect(database_now())
    shown = sum(sum(hour["counts"].values()) for hour in figures["hours"])
    assert (figures["waiting"], figures["running"], figures["failed"], shown) == (2, 1, 1, 4)
    assert timedelta(hours=2) <= figures["longest"] < timedelta(hours=2, minutes=1)


def test_a_timeline_has_the_times_of_its_history(jobs):
    job = Job.objects.get(pk=jobs[1].pk)
    assert all(step.when is not None and timezone.is_naive(step.when) for step in timeline(job))
    assert job.history[0]["worker"] == "w"


def test_the_life_of_a_job(alices, alice):
    job = accept(Job(task=tasks.add.name, operation="add", owner=alice, input={"x": 1, "y": 2}))
    url = f"/api/jobs/{job.pk}/"
    assert alices.get(f"{url}?wait=0").data["status"] == "accepted"
    run_accepted_jobs()
    answer = alices.get(url)
    assert answer.data["status"] == "succeeded"
    now = datetime.now(UTC)
    *steps, expires = moments(answer.json())
    assert all(abs(step - now) < timedelta(minutes=1) for step in steps)
    assert abs(expires - now - timedelta(hours=24)) < timedelta(minutes=1)
    assert abs(parsedate_to_datetime(answer["Sunset"]) - expires) < timedelta(seconds=1)
    assert alices.get(f"{url}result/").data == 3
    assert alices.get(url, HTTP_ACCEPT="text/html").status_code == 200
    assert sweep(10) == 0
    Job.objects.update(expires_at=database_now(), sweep_at=database_now())
    assert alices.get(f"{url}result/").status_code == 410
    assert sweep(10) == 1


@pytest.mark.parametrize(
    "after", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00+05:30", "2026-01-01T00:00:00"]
)
def test_the_list_is_filtered_by_time(alices, jobs, after):
    assert len(alices.get("/api/jobs/", {"created_after": after}).data["results"]) == len(jobs)
    assert alices.get("/api/jobs/", {"created_before": after}).data["results"] == []


def test_a_retry_waits_for_its_time(alice, monkeypatch):
    delays, give_back = [], Job.give_back
    monkeypatch.setattr(
        Job,
        "give_back",
        lambda job, delay, *args, **kw: delays.append(delay) or give_back(job, delay, *args, **kw),
    )
    accept(Job(task=comes_back.name, operation="back", owner=alice, input={}, max_attempts=3))
    run_accepted_jobs()
    (delay,) = delays
    assert abs(delay - timedelta(hours=1)) < timedelta(minutes=1)
    assert Job.objects.get().state == "succeeded"


def test_a_relay_acts_when_it_is_time(alice):
    now, hour = database_now(), timedelta(hours=1)
    early, late = (make_job(tasks.add, dispatch_at=now + delta) for delta in (hour, -hour))
    for job, due in ((early, False), (late, True)):
        assert Job.objects.due().filter(pk=job.pk).exists() is due
    held, gone = (make_job(tasks.add, state="running", lease_until=now + delta) for delta in (hour, -hour))
    assert list(Job.objects.lease_lost()) == [gone]
    assert held.lease_until > now
    assert Relay()._rest() > timedelta(seconds=0)
