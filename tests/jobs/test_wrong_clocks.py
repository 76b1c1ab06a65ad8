"""Machines whose clocks are wrong: how long something is kept is by the database's clock alone."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from async_accept.db import clock
from async_accept.http.monitor import retry_after
from async_accept.jobs import keys
from async_accept.jobs.accept import Terms, accept
from async_accept.jobs.relay import Relay
from async_accept.jobs.retention import sweep
from async_accept.models import Job, JoinedKey
from async_accept.testing import make_job, run_accepted_jobs
from tests.testapp import tasks

pytestmark = pytest.mark.django_db(transaction=True)

#: Hours.
BEHIND, AHEAD = -25.0, 31.0 * 24


@pytest.fixture
def on_a_machine(monkeypatch):
    """Work on a machine whose clock is so many hours ahead; 0 is the database's own."""

    def at(hours):
        monkeypatch.undo()
        right = time.time
        monkeypatch.setattr(time, "time", lambda: right() + hours * 3600)
        monkeypatch.setattr(timezone, "now", lambda: datetime.fromtimestamp(right() + hours * 3600, UTC))
        monkeypatch.setattr(clock, "_readings", {})  # another process

    return at


def job(**columns):
    """Return a job of a task that adds."""
    return Job(task=tasks.add.name, operation="add", input={"x": 1, "y": 2}, **columns)


@pytest.mark.parametrize("hours", [BEHIND, AHEAD])
def test_a_workers_clock_does_not_say_how_long_a_result_is_kept(on_a_machine, alices, alice, hours):
    accepted = accept(job(owner=alice))
    on_a_machine(hours)
    run_accepted_jobs()
    on_a_machine(0)
    accepted.refresh_from_db()
    assert timedelta(hours=23) < accepted.expires_at - timezone.now() <= timedelta(hours=24)
    assert abs(accepted.finished_at - timezone.now()) < timedelta(minutes=1)
    assert abs(accepted.started_at - timezone.now()) < timedelta(minutes=1)
    assert alices.get(f"/api/jobs/{accepted.pk}/result/").data == 3
    assert sweep(10) == 0


@pytest.mark.parametrize("hours", [BEHIND, AHEAD])
def test_a_web_machines_clock_does_not_expire_a_result(on_a_machine, alices, alice, hours):
    accepted = accept(job(owner=alice))
    run_accepted_jobs()
    on_a_machine(hours)
    assert alices.get(f"/api/jobs/{accepted.pk}/result/").status_code == 200
    assert retry_after(Job.objects.get()) == retry_after(make_job())


@pytest.mark.parametrize("hours", [BEHIND, AHEAD])
def test_a_relays_clock_purges_nothing(on_a_machine, alice, hours):
    """Neither at once, nor when only the uploads of an ended job are due."""
    for uploads in (None, ["uploads/1"]):
        make_job(tasks.add, state="succeeded", uploads=uploads, sweep_at=timezone.now(), owner=alice)
    JoinedKey.objects.create(pk="k", fingerprint="f", job_id=Job.objects.first().pk)
    on_a_machine(hours)
    relay = Relay()
    relay.keys_at = relay.tidy_at = 0.0
    relay.tick()
    assert Job.objects.count() == 2
    assert JoinedKey.objects.exists()


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("hours", [BEHIND, AHEAD])
def test_a_key_lives_as_long_wherever_it_came_from(on_a_machine, alice, hours, joins):
    columns = keys.columns("k", caller=alice.pk, method="POST", route="/", payload=[1])
    on_a_machine(hours)
    first = accept(job(owner=alice, **columns), Terms(joins=joins))
    on_a_machine(0)
    assert accept(job(owner=alice, **columns), Terms(joins=joins)) == first
    on_a_machine(-hours)
    assert accept(job(owner=alice, **columns), Terms(joins=joins)) == first
    assert abs(Job.objects.get().created_at - datetime.now(UTC)) < timedelta(minutes=1)
