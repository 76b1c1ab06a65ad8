"""Accepting: the row is the outbox, and the broker hears of it after the commit."""

import inspect
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models.signals import post_save, pre_save
from django.utils import timezone

from async_accept import signals
from async_accept.exceptions import BrokerUnavailable, InputGone, Unavailable
from async_accept.jobs import keys
from async_accept.jobs import publish as publish_module
from async_accept.jobs.accept import Terms, accept, rerun
from async_accept.jobs.arguments import check_arguments
from async_accept.jobs.broker import Broker
from async_accept.models import Job, new_id
from async_accept.testing import make_job
from tests.locks import impatient, locked
from tests.testapp import tasks

pytestmark = pytest.mark.django_db
committing = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker_down(monkeypatch):
    def refuse(*args):
        raise BrokerUnavailable("OSError")

    monkeypatch.setattr(publish_module, "publish", refuse)
    monkeypatch.setattr(Broker, "check", refuse)


def new(**columns):
    return Job(id=new_id(), operation="test", task=tasks.add.name, input={"x": 1, "y": 2}, **columns)


# --- Storing ---------------------------------------------------------------------------------------------


@committing
def test_an_accepted_job_is_stored_and_published(published):
    job = accept(new())
    assert Job.objects.get().state == "accepted"
    assert published == [job.pk]


def test_an_accepted_job_is_due_after_the_first_step():
    job = accept(new())
    assert 5 < (job.dispatch_at - timezone.now()).total_seconds() <= 10


def test_the_first_step_is_taken_by_the_databases_clock(monkeypatch):
    """A web machine whose clock is wrong must not make a job wait for as long."""
    monkeypatch.setattr(timezone, "now", lambda: datetime.now(UTC) + timedelta(hours=1))
    accept(new())
    monkeypatch.undo()
    assert Job.objects.get().dispatch_at < timezone.now() + timedelta(minutes=1)


@committing
def test_the_broker_hears_of_it_after_the_commit(published):
    with transaction.atomic():
        accept(new())
        assert published == []
    assert len(published) == 1


@committing
def test_what_is_rolled_back_was_never_published(published):
    with transaction.atomic():
        accept(new())
        transaction.set_rollback(True)
    assert published == []
    assert not Job.objects.exists()


@committing
def test_while_the_broker_is_down_the_job_is_accepted(broker_down, caplog):
    job = accept(new())
    assert Job.objects.filter(pk=job.pk).exists()
    assert f"did not take job {job.pk}" in caplog.text


@committing
@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_job_that_needs_the_broker_leaves_nothing_behind(broker_down, in_transaction):
    around = transaction.atomic() if in_transaction else nullcontext()
    with pytest.raises(Unavailable), around:
        accept(new(), Terms(needs_broker=True))
    assert not Job.objects.exists()


@committing
def test_a_job_that_needs_the_broker_is_not_taken_back_once_it_is_stored(monkeypatch):
    """A repeat may have been promised the same job meanwhile."""

    def refuse(*args):
        raise BrokerUnavailable("TimeoutError")

    monkeypatch.setattr(publish_module, "publish", refuse)
    job = accept(new(idempotency_key="k"), Terms(needs_broker=True))
    assert accept(new(idempotency_key="k"), Terms(needs_broker=True)) == job
    assert Job.objects.get() == job


@committing
def test_a_receiver_is_told_once_after_the_commit(published):
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
def test_a_receiver_that_fails_does_not_keep_the_broker_from_hearing(published):
    def broken(**kwargs):
        raise RuntimeError

    signals.job_accepted.connect(broken, sender=Job)
    try:
        accept(new())
    finally:
        signals.job_accepted.disconnect(broken, sender=Job)
    assert len(published) == 1


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
def test_a_repeat_gets_the_first_job_and_publishes_nothing(published, alice, key, in_transaction):
    first = accept(new(owner=alice, **{key: "k"}))
    if in_transaction:
        with transaction.atomic():
            repeat = accept(new(owner=alice, **{key: "k"}))
            assert Job.objects.count() == 1  # the transaction is not broken
    else:
        repeat = accept(new(owner=alice, **{key: "k"}))
    assert repeat == first
    assert published == [first.pk]


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
def test_accepting_is_one_statement(published, keys, django_assert_num_queries):
    job = new(**keys)
    with django_assert_num_queries(1):
        accept(job)


@committing
def test_inside_a_transaction_a_key_needs_a_savepoint_on_mariadb_only(published, django_assert_num_queries):
    plain, keyed = new(), new(idempotency_key="k")
    with transaction.atomic():
        with django_assert_num_queries(1):
            accept(plain)
        with django_assert_num_queries(3 if connection.vendor == "mysql" else 1):
            accept(keyed)


@committing
def test_a_key_is_seen_when_its_job_is_committed(published):
    with transaction.atomic():
        accept(new(idempotency_key="k"))
        transaction.set_rollback(True)
    assert not keys.is_seen("k")
    accept(new(idempotency_key="k"))
    assert keys.is_seen("k")


@committing
def test_a_repeat_is_two_statements(published, django_assert_num_queries):
    accept(new(idempotency_key="k"))
    repeat = new(idempotency_key="k")
    with django_assert_num_queries(2):
        accept(repeat)


# --- Rerun --------------------------------------------------------------------------------------------


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


def test_a_rerun_takes_the_active_key_again(alice):
    job = make_job(tasks.add, state="failed", input={"x": 1}, active_key="k", active_hash="k", owner=alice)
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


# --- Locks of others -----------------------------------------------------------------------------------------


@committing
def test_accepting_waits_for_no_lock_on_what_the_job_refers_to(alice, published):
    """The work of another job may hold the user's row for long."""
    kind = ContentType.objects.get_for_model(Job)
    job = Job(task=tasks.add.name, operation="add", input={}, owner=alice, object_type=kind, object_id="1")
    mine = type(alice).objects.filter(pk=alice.pk)
    with locked(mine, ContentType.objects.filter(pk=kind.pk)), impatient():
        accept(job)
    assert published == [job.pk]


@committing
def test_a_deleted_owner_is_set_to_null(alice):
    job = make_job(tasks.add, owner=alice)
    alice.delete()
    job.refresh_from_db()
    assert job.owner is None
    assert not job.anonymous


@committing
def test_a_job_whose_owner_went_while_it_was_accepted_is_nobodys(alice, boss):
    """No constraint finds that owner gone; staff see the job, and nothing runs in the name of nobody."""
    job = accept(Job(task="async_accept.replay", operation="add", owner_id=alice.pk + 1000, input={}))
    assert not Job.objects.visible_to(alice).exists()
    for url in ("/admin/async_accept/job/", f"/admin/async_accept/job/{job.pk}/change/"):
        assert boss.get(url).status_code == 200


# --- Arguments --------------------------------------------------------------------------------------------------------


def named(x, n=0):
    """Takes these two."""


def keyword_only(*, x, n=0):
    """Takes these two."""


def placed(x, /, **rest):
    """Takes one by its place only."""


def placed_if_given(x=1, /, *, n=0):
    """Can take one by its place only."""


def anything(**rest):
    """Takes whatever has a name."""


@pytest.mark.parametrize("run", [named, keyword_only, placed, placed_if_given, anything])
@pytest.mark.parametrize(
    "kwargs", [{}, {"x": 1}, {"n": 1}, {"x": 1, "n": 2}, {"x": 1, "y": 2}, {"": 1}, {"n": 1, "": 2}, {1: 2}]
)
def test_arguments_are_refused_as_the_call_would_refuse_them(run, kwargs):
    def outcome(check):
        try:
            check()
        except TypeError as error:
            return str(error)
        return None

    task = SimpleNamespace(run=run)
    expected = outcome(lambda: inspect.signature(run).bind(**kwargs))
    assert outcome(lambda: check_arguments(task, kwargs)) == expected


def test_listeners_of_save_see_and_change_the_input():
    seen = []

    def note(instance, **kwargs):
        seen.append(instance.input)

    def change(instance, **kwargs):
        instance.input = {**instance.input, "y": 2}

    pre_save.connect(change, sender=Job)
    post_save.connect(note, sender=Job)
    try:
        job = accept(Job(id=new_id(), operation="o", task=tasks.add.name, input={"x": 1}))
    finally:
        pre_save.disconnect(change, sender=Job)
        post_save.disconnect(note, sender=Job)
    assert seen == [{"x": 1, "y": 2}]
    assert Job.objects.get(pk=job.pk).input == job.input == {"x": 1, "y": 2}
