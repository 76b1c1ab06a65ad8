"""Accepting: the row is the outbox, and the broker hears of it after the commit."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from amqp.exceptions import PreconditionFailed
from celery import current_app, shared_task
from celery.app import routes
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.utils import timezone

from async_accept import signals
from async_accept.exceptions import BrokerUnavailable, InputGone
from async_accept.jobs import publish
from async_accept.jobs.broker import Broker
from async_accept.jobs.publish import accept, queue_of, rerun, ring, send_options
from async_accept.models import Job, new_id
from async_accept.tasks import JobTask
from async_accept.testing import make_job
from tests.testapp import tasks

pytestmark = pytest.mark.django_db
committing = pytest.mark.django_db(transaction=True)


@shared_task(base=JobTask, serializer="json", expires=60)
def with_options():
    """Sent as its options say."""


@pytest.fixture
def rung(monkeypatch):
    """The jobs that were rung for, by a broker that takes everything."""
    rung = []

    def ring(jobs, via=None):
        rung.extend(pk for pk, _ in jobs)
        return [pk for pk, _ in jobs]

    monkeypatch.setattr(publish, "ring", ring)
    return rung


@pytest.fixture
def broker_down(monkeypatch):
    def refuse(*args):
        raise BrokerUnavailable("OSError")

    monkeypatch.setattr(publish, "ring", refuse)
    monkeypatch.setattr(Broker, "check", refuse)


def new(**columns):
    return Job(id=new_id(), operation="test", task=tasks.add.name, input={"x": 1, "y": 2}, **columns)


# --- Storing ---------------------------------------------------------------------------------------------


@committing
def test_an_accepted_job_is_stored_and_rung_for(rung):
    job = accept(new())
    assert Job.objects.get().state == "accepted"
    assert rung == [job.pk]


def test_an_accepted_job_is_due_after_the_first_step():
    job = accept(new())
    assert 5 < (job.dispatch_at - timezone.now()).total_seconds() <= 10


def test_the_first_step_is_taken_by_the_databases_clock(monkeypatch):
    """A web machine whose clock is wrong must not make a job wait for as long."""
    monkeypatch.setattr(publish.timezone, "now", lambda: datetime.now(UTC) + timedelta(hours=1))
    accept(new())
    monkeypatch.undo()
    assert Job.objects.get().dispatch_at < timezone.now() + timedelta(minutes=1)


@committing
def test_the_broker_hears_of_it_after_the_commit(rung):
    with transaction.atomic():
        accept(new())
        assert rung == []
    assert len(rung) == 1


@committing
def test_what_is_rolled_back_was_never_rung_for(rung):
    with transaction.atomic():
        accept(new())
        transaction.set_rollback(True)
    assert rung == []
    assert not Job.objects.exists()


@committing
def test_while_the_broker_is_down_the_job_is_accepted(broker_down, caplog):
    job = accept(new())
    assert Job.objects.filter(pk=job.pk).exists()
    assert f"did not take job {job.pk}" in caplog.text


@committing
@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_job_that_insists_on_the_broker_leaves_nothing_behind(broker_down, in_transaction):
    around = transaction.atomic() if in_transaction else nullcontext()
    with pytest.raises(BrokerUnavailable), around:
        accept(new(), insist=True)
    assert not Job.objects.exists()


@committing
def test_a_job_that_insists_is_not_taken_back_once_it_is_stored(monkeypatch):
    """A repeat may have been promised the same job meanwhile."""

    def refuse(*args):
        raise BrokerUnavailable("TimeoutError")

    monkeypatch.setattr(publish, "ring", refuse)
    job = accept(new(idempotency_key="k"), insist=True)
    assert accept(new(idempotency_key="k"), insist=True) == job
    assert Job.objects.get() == job


@committing
def test_a_receiver_is_told_once_after_the_commit(rung):
    told = []

    def receiver(job, **kwargs):
        told.append((job.pk, connection.in_atomic_block))

    signals.job_accepted.connect(receiver, sender=Job)
    try:
        with transaction.atomic():
            job = accept(new())
            assert told == []
    finally:
        signals.job_accepted.disconnect(receiver, sender=Job)
    assert told == [(job.pk, False)]


@committing
def test_a_receiver_that_fails_does_not_keep_the_broker_from_hearing(rung):
    def broken(**kwargs):
        raise RuntimeError

    signals.job_accepted.connect(broken, sender=Job)
    try:
        accept(new())
    finally:
        signals.job_accepted.disconnect(broken, sender=Job)
    assert len(rung) == 1


@committing
def test_eager_mode_runs_the_job_at_the_commit(eager):
    with transaction.atomic():
        job = accept(new())
        job.refresh_from_db()
        assert job.state == "accepted"
    job.refresh_from_db()
    assert job.state == "succeeded"


# --- Unique keys ------------------------------------------------------------------------------------------


@committing
@pytest.mark.parametrize("key", ["idempotency_key", "active_key"])
@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_repeat_gets_the_first_job_and_rings_for_nothing(rung, key, in_transaction):
    first = accept(new(**{key: "k"}))
    if in_transaction:
        with transaction.atomic():
            repeat = accept(new(**{key: "k"}))
            assert Job.objects.count() == 1  # the transaction is not broken
    else:
        repeat = accept(new(**{key: "k"}))
    assert repeat == first
    assert rung == [first.pk]


def test_a_job_that_has_ended_frees_its_active_key():
    first = accept(new(active_key="k"))
    first.cancel()
    assert accept(new(active_key="k")) != first


def test_an_ended_job_keeps_its_idempotency_key():
    first = accept(new(idempotency_key="k"))
    first.cancel()
    assert accept(new(idempotency_key="k")) == first


# --- What it costs ------------------------------------------------------------------------------------------


@committing
@pytest.mark.parametrize("keys", [{}, {"idempotency_key": "k"}, {"active_key": "a"}])
def test_accepting_is_one_statement(rung, keys, django_assert_num_queries):
    job = new(**keys)
    with django_assert_num_queries(1):
        accept(job)


@committing
def test_inside_a_transaction_only_a_key_needs_a_savepoint(rung, django_assert_num_queries):
    plain, keyed = new(), new(idempotency_key="k")
    with transaction.atomic():
        with django_assert_num_queries(1):
            accept(plain)
        with django_assert_num_queries(3):
            accept(keyed)


@committing
def test_a_repeat_is_two_statements(rung, django_assert_num_queries):
    accept(new(idempotency_key="k"))
    repeat = new(idempotency_key="k")
    with django_assert_num_queries(2):
        accept(repeat)


# --- Running again --------------------------------------------------------------------------------------------


def test_a_rerun_is_a_new_job_with_the_same_input(django_user_model):
    owner = django_user_model.objects.create(username="alice")
    job = make_job(tasks.flaky, state="failed", input={"failures": 1}, owner=owner, retry_after=7)
    again = rerun(job)
    again.refresh_from_db()
    job.refresh_from_db()
    assert (again.state, again.attempt, again.problem) == ("accepted", 0, None)
    same = (
        "owner",
        "task",
        "operation",
        "input",
        "request",
        "max_attempts",
        "retry_when_lost",
        "retry_after",
    )
    assert [getattr(again, name) for name in same] == [getattr(job, name) for name in same]
    assert (again.rerun_of, job.rerun_as) == (job.pk, again.pk)
    assert job.state == "failed"


@pytest.mark.parametrize(("created", "about"), [(True, None), (False, "1")])
def test_a_rerun_is_about_the_same_object_but_for_what_was_created(created, about):
    kind = ContentType.objects.get_for_model(Job)
    job = make_job(
        tasks.add,
        state="succeeded",
        input={"x": 1},
        object_type=kind,
        object_id="1",
        object_created=created,
    )
    again = rerun(job)
    assert (again.object_id, again.object_type_id) == (about, kind.pk if about else None)


def test_a_rerun_has_a_key_of_its_own():
    job = make_job(tasks.add, state="failed", input={"x": 1}, idempotency_key="k")
    assert rerun(job).idempotency_key is None
    assert rerun(job, idempotency_key="l", fingerprint="f").idempotency_key == "l"


def test_a_rerun_takes_the_active_key_again():
    job = make_job(tasks.add, state="failed", input={"x": 1}, active_key="k", active_hash="k")
    again = rerun(job)
    assert (again.active_key, job.active_key) == ("k", None)
    assert rerun(job) == again  # one at a time
    job.refresh_from_db()
    assert job.rerun_as == again.pk
    again.cancel()
    assert rerun(again).active_key == "k"


@pytest.mark.parametrize(
    "columns", [{"state": "running"}, {"input": None}, {"uploads": ["gone"]}], ids=["open", "purged", "files"]
)
def test_what_cannot_be_run_again_is_refused(columns):
    job = make_job(tasks.add, **{"state": "failed", "input": {"x": 1}} | columns)
    with pytest.raises(InputGone):
        rerun(job)
    assert Job.objects.count() == 1


def test_a_rerun_of_an_anonymous_job_is_anonymous_and_random():
    again = rerun(make_job(tasks.add, state="failed", input={}))
    assert again.anonymous
    assert again.pk.version == 4


# --- Ringing ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sent(monkeypatch):
    """What Celery was given to send."""
    sent = []

    def send_task(name, **options):
        sent.append((name, options))

    monkeypatch.setattr(current_app, "send_task", send_task, raising=False)
    monkeypatch.setattr(publish, "current_app", current_app)
    return sent


class Takes:
    """A broker that takes so many messages."""

    def __init__(self, calls=1):
        self.calls = calls

    def use(self, work):
        return work(type("producer", (), {}))


def test_rings_in_order_and_tells_what_was_taken(sent):
    ids = [new_id() for _ in range(250)]
    assert ring([(pk, "tests.unknown") for pk in ids], Takes()) == ids
    assert [options["task_id"] for _, options in sent] == [str(pk) for pk in ids]


def test_a_message_is_never_retried_stored_or_expired(sent):
    ring([(new_id(), with_options.name)], Takes())
    ((name, options),) = sent
    assert name == with_options.name
    assert (options["retry"], options["ignore_result"], options["headers"]) == (
        False,
        True,
        {"async_accept_job": 1},
    )
    assert "expires" not in options
    assert not {"args", "kwargs"} & set(options)


def test_a_task_keeps_its_routing_and_its_priority():
    given = {"queue": "slow", "priority": 7, "routing_key": None, "expires": 60}
    task = SimpleNamespace(_get_exec_options=lambda: given)
    assert send_options(task) == {"queue": "slow", "priority": 7}


def test_the_queue_of_a_task_is_where_it_is_routed(monkeypatch):
    table = routes.prepare({with_options.name: {"queue": "slow"}})
    router = routes.Router(table, current_app.amqp.Queues({}), create_missing=True, app=current_app)
    monkeypatch.setattr(current_app.amqp, "router", router)
    assert queue_of(with_options.name) == "slow"


def test_a_task_that_only_workers_know_goes_to_the_default_queue():
    assert send_options(None) == {}
    assert queue_of("tests.unknown") == current_app.conf.task_default_queue


def test_a_job_that_cannot_be_published_does_not_stand_in_the_way(monkeypatch, caplog):
    def send_task(name, **options):
        if name == "tests.bad":
            raise ValueError("hunter2")

    monkeypatch.setattr(publish, "current_app", type("app", (), {"tasks": {}, "send_task": send_task}))
    bad, good = new_id(), new_id()
    assert ring([(bad, "tests.bad"), (good, "tests.good")], Takes()) == [bad, good]
    assert f"Job {bad} cannot be published for tests.bad: ValueError" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("error", [KeyError, PreconditionFailed])
def test_a_job_that_fails_at_every_broker_is_the_only_one_passed_over(sent, error):
    """It stands first among many, and is the oldest in every tick of the relay."""
    ids = [new_id() for _ in range(250)]

    class Refuses(Takes):
        def use(self, work):
            before = len(sent)
            super().use(work)
            if any(options["task_id"] == str(ids[0]) for _, options in sent[before:]):
                del sent[before:]
                raise error("no")

    assert ring([(pk, "tests.unknown") for pk in ids], Refuses()) == ids
    assert [options["task_id"] for _, options in sent] == [str(pk) for pk in ids[1:]]


def test_a_broker_that_goes_away_leaves_the_rest_waiting(sent):
    class Once(Takes):
        def use(self, work):
            if sent:
                raise BrokerUnavailable("OSError")
            super().use(work)

    ids = [new_id() for _ in range(250)]
    assert ring([(pk, "tests.unknown") for pk in ids], Once()) == ids[: publish.CHUNK]


def test_a_broker_that_takes_none_is_unavailable():
    class Down:
        def use(self, work):
            raise BrokerUnavailable("OSError")

    with pytest.raises(BrokerUnavailable):
        ring([(new_id(), "tests.x")], Down())
