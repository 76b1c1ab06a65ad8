"""The relay: every open job has a time after which something acts on it."""

import threading
import time
from datetime import timedelta

import pytest
from celery import current_app
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from async_accept.conf import LONGEST
from async_accept.exceptions import BrokerUnavailable
from async_accept.jobs import due as due_module
from async_accept.jobs import relay as module
from async_accept.jobs.broker import Broker
from async_accept.jobs.postponed import step
from async_accept.jobs.relay import Relay
from async_accept.models import Job
from async_accept.testing import make_job
from tests.clocks import Clock
from tests.testapp import tasks

pytestmark = pytest.mark.django_db

AGO = timedelta(seconds=30)
TRUST = 2


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def relay(clock, published, monkeypatch):
    relay = Relay(Broker(1, clock), clock)
    monkeypatch.setattr(relay.broker, "depth", lambda queue: None)
    return relay


@pytest.fixture
def trusted(relay, clock):
    """A relay that has been running for long enough to take jobs."""
    relay.tick()
    clock.go_on(TRUST)
    relay.tick()
    return relay


def due(**columns):
    return make_job(tasks.add, dispatch_at=timezone.now() - AGO, input={"x": 1, "y": 2}, **columns)


def lost(**columns):
    return make_job(tasks.add, state="running", lease_until=timezone.now() - AGO, worker="w", **columns)


def wait_of(job):
    job.refresh_from_db()
    return (job.dispatch_at - timezone.now()).total_seconds()


# --- Messages ------------------------------------------------------------------------------------------


def test_a_due_job_is_published(relay, published):
    job = due()
    assert relay.tick()["published"] == 1
    assert published == [job.pk]


@pytest.mark.parametrize("state", ["running", "canceling", "succeeded", "failed", "canceled"])
def test_only_waiting_jobs_are_published(relay, published, state):
    make_job(tasks.add, state=state)
    relay.tick()
    assert published == []


def test_a_job_that_is_not_due_is_not_published(relay, published):
    make_job(tasks.add, dispatch_at=timezone.now() + AGO)
    relay.tick()
    assert published == []


def test_the_oldest_is_published_first(relay, published):
    younger = make_job(tasks.add, dispatch_at=timezone.now() - AGO)
    older = make_job(tasks.add, dispatch_at=timezone.now() - 2 * AGO)
    relay.tick()
    assert published == [older.pk, younger.pk]


def test_a_job_is_published_again_with_growing_steps(relay):
    job = due()
    waits = []
    for _ in range(4):
        Job.objects.filter(pk=job.pk).update(dispatch_at=timezone.now() - AGO)
        relay.tick()
        waits.append(round(wait_of(job), -1))
    assert waits == [10, 20, 40, 80]
    assert job.dispatches == 4


def test_steps_are_bounded():
    assert step(0) == timedelta(seconds=10)
    assert step(30_000) == timedelta(hours=1)


def test_a_first_step_of_years_is_bounded(settings):
    settings.ASYNC_ACCEPT = {"REPUBLISH_AFTER": LONGEST}
    assert step(30_000) == timedelta(hours=1)


def test_a_published_job_is_not_due_for_another_relay(relay, published):
    due()
    relay.tick()
    Relay(relay.broker, relay.clock).tick()
    assert len(published) == 1


def test_while_the_broker_is_down_the_job_stays_due(relay, published, monkeypatch, caplog):
    def down(jobs, via=None):
        raise BrokerUnavailable("OSError")

    with monkeypatch.context() as patch:
        patch.setattr(due_module, "publish", down)
        job = due()
        assert relay.tick()["published"] == 0
    job.refresh_from_db()
    assert job.dispatches == 0
    assert Job.objects.due().get() == job
    assert relay.tick()["published"] == 1


def test_a_job_that_the_broker_did_not_take_stays_due(relay, published, monkeypatch):
    first, second = due(), due()
    monkeypatch.setattr(due_module, "publish", lambda jobs, via=None: [pk for pk, *_ in jobs][:1])
    assert relay.tick()["published"] == 1
    left = Job.objects.due().get()
    assert left in (first, second)
    assert left.dispatches == 0


def test_while_the_broker_is_known_to_be_down_the_database_is_not_asked(
    relay, clock, django_assert_num_queries
):
    due()
    relay.broker.pause_until = clock() + 5
    with django_assert_num_queries(2):  # lost leases, old rows
        relay.tick()


def test_full_batches_are_followed_by_the_next(relay, published, monkeypatch):
    monkeypatch.setattr(due_module, "BATCH", 2)
    for _ in range(5):
        due()
    assert relay.tick()["published"] == 5


def test_a_job_given_back_is_published_at_its_time(relay, published):
    job = make_job(tasks.add, state="running")
    job.give_back(timedelta(minutes=5), "retry")
    relay.tick()
    assert published == []
    Job.objects.filter(pk=job.pk).update(dispatch_at=timezone.now())
    relay.tick()
    assert published == [job.pk]


# --- Lost messages ---------------------------------------------------------------------------------------


@pytest.fixture
def waiting_long():
    """Published some time ago; its next dispatch is far."""
    return make_job(tasks.add, dispatches=6, dispatch_at=timezone.now() + timedelta(seconds=100))


def test_a_job_whose_message_is_gone_is_published_at_once(relay, published, waiting_long, monkeypatch):
    monkeypatch.setattr(relay.broker, "depth", lambda queue: 0)
    relay.tick()
    assert published == [waiting_long.pk]


@pytest.mark.parametrize("depth", [None, 1])
def test_a_job_whose_message_may_still_be_there_waits(relay, published, waiting_long, monkeypatch, depth):
    monkeypatch.setattr(relay.broker, "depth", lambda queue: depth)
    relay.tick()
    assert published == []


# --- Leases ------------------------------------------------------------------------------------------------


def test_a_lease_that_ran_out_fails_the_job_as_lost(trusted):
    job = lost()
    assert trusted.tick()["lost"] == 1
    job.refresh_from_db()
    assert (job.state, job.problem["code"]) == ("failed", "lost")


def test_sound_work_is_given_back_and_published_in_the_same_tick(trusted, published):
    job = lost(retry_when_lost=True, max_attempts=2)
    trusted.tick()
    job.refresh_from_db()
    assert (job.state, job.history[0]["reason"]) == ("accepted", "lease")
    assert published == [job.pk]


def test_a_lost_job_that_was_to_stop_is_canceled(trusted):
    job = make_job(tasks.add, state="canceling", lease_until=timezone.now() - AGO)
    trusted.tick()
    job.refresh_from_db()
    assert job.state == "canceled"


def test_a_lease_that_holds_is_not_touched(trusted):
    job = make_job(tasks.add, state="running", lease_until=timezone.now() + AGO)
    assert trusted.tick()["lost"] == 0
    job.refresh_from_db()
    assert job.state == "running"


def test_a_heartbeat_in_between_keeps_the_job(trusted, monkeypatch):
    job = lost()

    def beat(self, *args, **kwargs):
        Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() + AGO)
        return lose(self, *args, **kwargs)

    lose = Job.lose
    monkeypatch.setattr(Job, "lose", beat)
    assert trusted.tick()["lost"] == 0


def test_after_its_start_the_relay_takes_no_job_for_two_heartbeats(relay, clock):
    lost()
    assert relay.tick()["lost"] == 0
    clock.go_on(TRUST - 0.1)
    assert relay.tick()["lost"] == 0
    clock.go_on(0.1)
    assert relay.tick()["lost"] == 1


def test_after_an_outage_of_the_database_it_waits_again(trusted, clock, monkeypatch):
    def away(self):
        raise OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(module, "publish_due", away)
        patch.setattr(connection, "is_usable", lambda: False)
        with pytest.raises(OperationalError):
            trusted.tick()
    lost()
    clock.go_on(100)
    assert trusted.tick()["lost"] == 0
    clock.go_on(TRUST)
    assert trusted.tick()["lost"] == 1


def test_one_job_that_cannot_be_taken_holds_up_no_other(trusted, monkeypatch, caplog):
    """Such as a row with a history that somebody has edited."""
    jobs = [lost() for _ in range(3)]
    lose = Job.lose

    def fail(self, *args, **kwargs):
        if self.pk == jobs[1].pk:
            raise ValueError("hunter2")
        return lose(self, *args, **kwargs)

    monkeypatch.setattr(Job, "lose", fail)
    assert trusted.tick()["lost"] == 2
    for job in jobs:
        job.refresh_from_db()
    assert [job.state for job in jobs] == ["failed", "running", "failed"]
    assert f"Job {jobs[1].pk} cannot be taken from its worker: ValueError" in caplog.text
    assert "hunter2" not in caplog.text


def test_its_clock_goes_on_while_the_machine_sleeps():
    """Else a machine that wakes up would take the jobs of all its workers before their next heartbeat."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None:
        pytest.skip("needs a system whose clocks differ")
    before = time.clock_gettime(clock)
    assert before <= Relay().clock() <= time.clock_gettime(clock)


def test_after_standing_still_it_waits_again(trusted, clock):
    """A machine that slept, or a database that hung without an error."""
    lost()
    clock.go_on(60)
    assert trusted.tick()["lost"] == 0
    clock.go_on(TRUST)
    assert trusted.tick()["lost"] == 1


def test_the_loss_is_logged_with_its_worker(trusted, caplog):
    job = lost()
    trusted.tick()
    assert f"Job {job.pk} was lost by w" in caplog.text


# --- Sweeping, and what it costs -----------------------------------------------------------------------------


def test_what_was_kept_for_long_enough_goes(relay):
    job = make_job(tasks.add, state="succeeded", result=3, sweep_at=timezone.now() - AGO)
    assert relay.tick()["swept"] == 1
    assert Job.objects.filter(pk=job.pk).exists()


def test_an_idle_tick_is_four_queries(trusted, django_assert_num_queries):
    make_job(tasks.add)
    make_job(tasks.add, state="running")
    make_job(tasks.add, state="succeeded")
    with django_assert_num_queries(4):
        trusted.tick()


def test_the_number_of_due_jobs_does_not_change_the_number_of_statements(
    trusted, django_assert_max_num_queries
):
    for n in range(10):
        due(dispatches=n)
    with django_assert_max_num_queries(8):
        trusted.tick()


# --- Running ---------------------------------------------------------------------------------------------------


def test_a_relay_goes_on_after_any_error(relay, monkeypatch, caplog):
    """Not its message: what failed may have met anybody's data."""
    ticks = []

    def tick():
        ticks.append(1)
        if len(ticks) == 3:
            relay.stop()
        raise [OperationalError("hunter2"), KeyError("hunter2"), ValueError("hunter2")][len(ticks) - 1]

    monkeypatch.setattr(relay, "tick", tick)
    monkeypatch.setattr(relay.woken, "wait", lambda seconds: False)
    monkeypatch.setattr(module, "connections", {module.database(): relay.broker})
    relay.run()
    assert len(ticks) == 3
    assert "hunter2" not in caplog.text


def test_the_message_carries_the_id_and_nothing_else(clock):
    if not str(current_app.conf.broker_url).startswith("memory"):
        pytest.skip("reads the queue in memory")
    job = due()
    relay = Relay(Broker(1, clock), clock)
    with current_app.connection_for_read() as connection:
        queue = current_app.amqp.queues[current_app.conf.task_default_queue].bind(connection.default_channel)
        queue.declare()
        queue.purge()
        assert relay.tick()["published"] == 1
        message = queue.get(no_ack=True)
    assert message.headers["id"] == str(job.pk)
    assert message.headers["async_accept_job"] == 1
    assert message.decode()[:2] == [[], {}]


# --- Rows that somebody else has locked -------------------------------------------------------------------


@pytest.fixture
def locked():
    """Let somebody's transaction hold a row, as work does that touches its own job, and tell when it is let go."""
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip(f"{connection.vendor} locks no rows")
    held, let_go = threading.Event(), threading.Event()

    def hold(pk):
        try:
            with transaction.atomic():
                Job.objects.filter(pk=pk).update(owner=None)
                held.set()
                let_go.wait(30)
        finally:
            connections.close_all()

    threads = []

    def lock(job):
        threads.append(threading.Thread(target=hold, args=(job.pk,)))
        threads[0].start()
        assert held.wait(10)

    yield lock
    let_go.set()
    for thread in threads:
        thread.join(10)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "make",
    [
        lambda: lost(retry_when_lost=True),
        lambda: due(),
        lambda: make_job(tasks.add, dispatches=6, dispatch_at=timezone.now() + timedelta(seconds=100)),
        lambda: make_job(tasks.add, state="succeeded", sweep_at=timezone.now() - AGO),
    ],
    ids=["lost", "due", "its message gone", "to be swept"],
)
def test_one_row_that_is_locked_holds_up_no_other(trusted, published, monkeypatch, locked, make):
    monkeypatch.setattr(trusted.broker, "depth", lambda queue: 0)
    busy = make()
    locked(busy)
    other = due()
    with connection.cursor() as cursor:
        cursor.execute(
            "SET lock_timeout = '5s'"
            if connection.vendor == "postgresql"
            else "SET innodb_lock_wait_timeout = 5"
        )
    trusted.tick()
    assert published == [other.pk]
    assert Job.objects.get(pk=busy.pk).state == busy.state


# --- Uploads --------------------------------------------------------------------------------------------


def test_orphaned_uploads_are_looked_for_once_an_hour(relay, clock, monkeypatch):
    looked = []
    monkeypatch.setattr("async_accept.jobs.uploads.remove_orphans", lambda: looked.append(clock.now))
    relay.tick()
    assert looked == []
    for _ in range(3):
        clock.go_on(1801)
        relay.tick()
    assert len(looked) == 1


def test_a_storage_that_fails_does_not_stop_the_relay(relay, clock, monkeypatch):
    def fail():
        raise OSError("no such share")

    monkeypatch.setattr("async_accept.jobs.uploads.remove_orphans", fail)
    clock.go_on(3601)
    assert relay.tick() == {"lost": 0, "published": 0, "swept": 0}


# --- When the next tick comes -----------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "rest"), [(60, 3.0), (1, 1.0), (0, 0.25), (-5, 0.25)])
def test_the_next_tick_comes_when_a_retry_is_due(relay, seconds, rest):
    job = make_job(tasks.add, state="running")
    job.give_back(timedelta(seconds=seconds), "retry")
    assert relay._rest().total_seconds() == pytest.approx(rest, abs=0.2)


def test_what_was_published_already_calls_for_no_early_tick(relay):
    make_job(tasks.add, attempt=1, dispatches=1, dispatch_at=timezone.now())
    assert relay._rest() == timedelta(seconds=3)


def test_a_backlog_is_published_without_long_rests(relay, published, monkeypatch):
    """After an outage many jobs wait; a tick publishes only so many, because leases have to be looked at."""
    monkeypatch.setattr(due_module, "BATCH", 1)
    monkeypatch.setattr(due_module, "BATCHES", 2)
    monkeypatch.setattr(module, "MOST", 2)
    for _ in range(3):
        due()
    relay.tick()
    assert relay._rest() == module.SHORTEST_REST
    relay.tick()
    assert len(published) == 3
    assert relay._rest() == timedelta(seconds=3)


def test_a_relay_that_is_woken_ticks_at_once(relay, monkeypatch):
    """A worker has given a job back; the interval of a minute is not waited for."""
    ticks = []

    def tick():
        ticks.append(1)
        if len(ticks) == 2:
            relay.stop()
        else:
            module.wake()

    monkeypatch.setattr(relay, "tick", tick)
    monkeypatch.setattr(relay, "_rest", lambda: timedelta(minutes=1))
    monkeypatch.setattr(module, "SHORTEST_REST", timedelta(0))
    monkeypatch.setattr(module, "connections", {module.database(): relay.broker})
    relay.run()
    assert len(ticks) == 2


def test_jobs_are_taken_later_if_workers_may_wait_for_a_connection(relay, clock, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"connect_timeout": 3})
    relay.tick()
    job = lost()
    clock.go_on(TRUST)
    relay.tick()
    job.refresh_from_db()
    assert job.state == "running"
    clock.go_on(3)
    relay.tick()
    job.refresh_from_db()
    assert job.state == "failed"


# --- Messages of views -------------------------------------------------------------------------------------------


def test_a_job_is_published_again_as_its_view_says(monkeypatch, clock):
    """The relay may not know the view; the row says how."""
    sent = []
    monkeypatch.setattr(
        due_module, "publish", lambda jobs, via=None: sent.extend(jobs) or [job.pk for job in jobs]
    )
    options = {"queue": "slow", "time_limit": 60}
    make_job(tasks.echo, message_options=options, dispatch_at=timezone.now() - AGO)
    make_job(tasks.echo, dispatch_at=timezone.now() - AGO)
    due_module.publish_due(Broker(1, clock))
    assert sorted((job.options for job in sent), key=str) == sorted([options, None], key=str)


def test_a_lost_message_is_looked_for_in_the_queue_of_the_view(relay, monkeypatch):
    asked = []
    monkeypatch.setattr(relay.broker, "depth", lambda queue: asked.append(queue) or 1)
    job = make_job(tasks.echo, message_options={"queue": "slow"})
    Job.objects.filter(pk=job.pk).update(
        dispatches=3,
        created_at=timezone.now() - timedelta(days=1),
        updated_at=timezone.now() - timedelta(days=1),
    )
    due_module.find_lost_messages(relay.broker)
    assert asked == ["slow"]
