"""What the pages of the admin fetch again and again while jobs are active."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_accept.admin import statistics
from async_accept.models import Job
from async_accept.testing import make_job
from tests.admin.conftest import LIST, page

pytestmark = pytest.mark.django_db


# --- The list ----------


def test_live_tells_the_cells_of_active_jobs_in_one_statement(boss):
    running, ended = make_job(state="running"), make_job(state="succeeded", result=1)
    url = f"{LIST}live/?ids={running.pk.hex},{ended.pk},nonsense"
    with CaptureQueriesContext(connection) as captured:
        response = boss.get(url)
    jobs = response.json()["jobs"]

    assert len(captured) == 3  # session, user, jobs
    assert jobs[running.pk.hex]["active"] is True
    assert jobs[ended.pk.hex]["active"] is False
    assert set(jobs[running.pk.hex]["parts"]) == {"state", "created", "duration", "attempt"}
    assert "no-store" in response["Cache-Control"]


def test_live_answers_for_a_hundred_at_most(boss):
    jobs = [Job(operation="a", task="t", dispatch_at=timezone.now()) for _ in range(101)]
    ids = ",".join(job.pk.hex for job in Job.objects.bulk_create(jobs))
    assert len(boss.get(f"{LIST}live/?ids={ids}").json()["jobs"]) == 100


def test_live_without_ids_asks_nothing(boss):
    assert boss.get(f"{LIST}live/").json() == {"jobs": {}}


# --- A job ----------


def live(client: Client, job: Job) -> dict:
    response = client.get(f"{LIST}{job.pk}/live/")
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    return response.json()["jobs"].get(job.pk.hex, {})


def test_live_tells_the_parts_that_change_with_every_report(boss):
    job = make_job(
        state="running",
        log="12:00 reading <a>",
        progress={
            "current": 3,
            "total": 9,
            "unit": "",
            "message": "Row <3>",
            "percent": 33.3,
            "stage": "Reading",
        },
    )
    with CaptureQueriesContext(connection) as captured:
        told = live(boss, job)
    assert len(captured) == 3  # session, user, job
    assert told["active"] is True
    assert "3/<wbr>9" in told["parts"]["state"]
    assert told["parts"]["message"] == "<strong><bdi>Reading</bdi></strong> <bdi>Row &lt;3&gt;</bdi>"
    assert told["parts"]["log"] == "12:00 reading &lt;a&gt;"
    html = page(boss, job)
    for part in ("state", "duration", "message", "log"):
        assert re.search(f'data-aa-job="{job.pk.hex}" data-aa-part="{part}"[^>]* data-aa-active>', html)


def test_live_reads_no_input(staff):
    job = make_job(input={"sku": "TEA-1"})
    client = staff("view_input")
    with CaptureQueriesContext(connection) as captured:
        live(client, job)
    asked = [re.sub(r'"input" IS (NOT )?NULL', "", q["sql"].replace("`", '"')) for q in captured]
    assert not any('"input"' in sql for sql in asked)


def test_the_version_tells_when_more_than_the_parts_has_changed(boss):
    job = make_job(created_at=timezone.now() - statistics.QUIET * 2)
    seen = [live(boss, job)["version"]]

    def look() -> bool:
        seen.append(live(boss, job)["version"])
        assert f'data-aa-version="{seen[-1]}"' in page(boss, job)
        return seen[-1] != seen[-2]

    assert not look()
    assert job.claim("worker@test", 1)
    assert look()
    Job.objects.update(progress={"current": 1, "total": 9, "message": "x"})
    assert not look()
    Job.objects.update(log="first line")
    assert look()
    Job.objects.update(log="first line\nsecond line")
    assert not look()
    assert job.give_back(timedelta(0), "retry")
    assert look()
    assert job.claim("worker@test", 1)
    assert look()
    assert job.cancel()
    assert look()
    assert job.end_canceled()
    assert look()


def test_live_tells_that_the_owner_has_deleted_the_job(boss):
    job = make_job(state="running")
    before = live(boss, job)
    Job.objects.update(forgotten=True)
    after = live(boss, job)
    assert before["version"] != after["version"]
    assert "deleted by its owner" in after["parts"]["state"]
