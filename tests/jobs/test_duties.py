"""Each duty of the relay stands alone: neither a bad row nor a storage holds up the others."""

import threading
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db import IntegrityError, OperationalError, connection
from django.db.models import ProtectedError, RestrictedError
from django.db.models.signals import pre_delete
from django.utils import timezone
from django_celery_results.models import TaskResult

from async_accept.conf import DEFAULTS
from async_accept.jobs import due as due_module
from async_accept.jobs import folders, retention, uploads
from async_accept.jobs import relay as module
from async_accept.jobs.broker import Broker
from async_accept.jobs.duties import Once, act_on
from async_accept.jobs.lost import BATCH, PAUSE
from async_accept.jobs.relay import Relay
from async_accept.jobs.removal import Removal
from async_accept.models import Job, JoinedKey, new_id
from async_accept.testing import make_job
from tests.clocks import Clock
from tests.testapp import tasks

pytestmark = pytest.mark.django_db

AGO = timedelta(seconds=30)
LIFETIME = DEFAULTS["IDEMPOTENCY_KEY_LIFETIME"]
MONTHS = timedelta(days=100)
DUTIES = ("find_lost_messages", "publish_due", "sweep", "forget_expired")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def nothing_was_said(monkeypatch):
    monkeypatch.setattr(retention, "said", Once())


@pytest.fixture
def relay(clock, monkeypatch):
    """A relay that has been running for long enough to take jobs, and its broker takes everything."""
    monkeypatch.setattr("async_accept.jobs.due.publish", lambda jobs, via=None: [pk for pk, *_ in jobs])
    relay = Relay(Broker(1, clock), clock)
    monkeypatch.setattr(relay.broker, "depth", lambda queue: None)
    relay.tick()
    clock.go_on(2)
    relay.tick()
    yield relay
    relay.stop()
    relay.removal.wait(10)


def old(**columns):
    """A job whose row is to be purged."""
    past = timezone.now() - MONTHS
    return make_job(tasks.add, state="succeeded", finished_at=past, expires_at=past, sweep_at=past, **columns)


def due():
    return make_job(tasks.add, dispatch_at=timezone.now() - AGO, input={"x": 1, "y": 2})


def lost(**columns):
    return make_job(tasks.add, state="running", lease_until=timezone.now() - AGO, worker="w", **columns)


def exists(job):
    return Job.objects.filter(pk=job.pk).exists()


def break_column(job, name):
    with connection.cursor() as cursor:
        table, pk = Job._meta.db_table, Job._meta.pk.get_db_prep_value(job.pk, connection)
        cursor.execute(f"UPDATE {table} SET {name} = %s WHERE id = %s", ["{no json", pk])


@pytest.fixture
def protect():
    """Return a function: from then on, the deletion of these jobs raises *error*."""
    errors = {}

    def refuse(sender, instance, **kwargs):
        if instance.pk in errors:
            raise errors[instance.pk]

    def protect(job, error):
        errors[job.pk] = error

    pre_delete.connect(refuse, sender=Job)
    yield protect
    pre_delete.disconnect(refuse, sender=Job)


# --- One duty fails -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [KeyError("hunter2"), IntegrityError("hunter2"), OperationalError("hunter2")]
)
@pytest.mark.parametrize("duty", DUTIES)
def test_a_duty_that_fails_stops_no_other_and_costs_no_trust(relay, clock, monkeypatch, caplog, duty, error):
    """Nor does a tick after the other say so."""

    def fail(*args):
        raise error

    monkeypatch.setattr(module, duty, fail)
    jobs = [lost()]
    for _ in range(2):
        clock.go_on(3601 if duty == "forget_expired" else 1)
        relay.lost.saw_database()
        assert relay.tick()["lost"] == 1
        jobs.append(lost())
    told = [record for record in caplog.records if type(error).__name__ in record.message]
    assert len(told) == 1
    assert "hunter2" not in caplog.text


def test_many_old_keys_are_removed_in_parts(relay, clock, monkeypatch):
    """One DELETE of all would take minutes, and lock them all."""
    monkeypatch.setattr(module, "BATCH", 2)
    for number in range(3):
        JoinedKey.objects.create(
            pk=f"old {number}", job_id=new_id(), created_at=timezone.now() - 2 * LIFETIME
        )
        JoinedKey.objects.create(pk=f"kept {number}", job_id=new_id(), kept_until=timezone.now() - AGO)
    JoinedKey.objects.create(pk="new", job_id=new_id())
    left = []
    clock.go_on(3601)
    for _ in range(5):
        relay.tidy_up()
        left.append(JoinedKey.objects.count())
    assert left == [5, 3, 1, 1, 1]
    assert relay.keys_at > clock()


def test_a_duty_of_another_app_stands_alone_too(relay, monkeypatch, caplog):
    def fail(broker):
        raise KeyError("hunter2")

    monkeypatch.setattr(module, "DUTIES", {"notices": fail, "others": lambda broker: 3})
    done = relay.tick()
    assert (done["notices"], done["others"]) == (0, 3)
    assert "The relay cannot do its duty 'notices': KeyError" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_duty_that_works_again_and_fails_again_is_told_again(relay, monkeypatch, caplog):
    def fail(*args):
        raise KeyError("sweep")

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(module, "sweep", fail)
            relay.tick()
        relay.tick()
    assert caplog.text.count("remove old results and jobs: KeyError") == 2


# --- Rows that cannot be purged -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ProtectedError("kept", set()),
        RestrictedError("kept", set()),
        IntegrityError("hunter2"),
        OperationalError("hunter2"),
        RuntimeError("hunter2"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_job_that_the_project_protects_holds_up_nothing(relay, protect, caplog, error):
    kept, others, running = old(), [old() for _ in range(3)], lost()
    protect(kept, error)
    for _ in range(3):
        relay.tick()
    assert exists(kept)
    assert not any(map(exists, others))
    running.refresh_from_db()
    assert running.state == "failed"
    kept.refresh_from_db()
    assert kept.sweep_at > timezone.now() + timedelta(minutes=59)
    assert caplog.text.count(f"Job {kept.pk} cannot be purged: {type(error).__name__}") == 1
    assert "hunter2" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_constraint_of_the_database_protects_a_job_too(relay):
    kept, other = old(), old()
    kind, table = Job._meta.pk.db_type(connection), Job._meta.db_table
    pk = Job._meta.pk.get_db_prep_value(kept.pk, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE kept_by_sql (job {kind}, FOREIGN KEY (job) REFERENCES {table} (id))")
        try:
            cursor.execute("INSERT INTO kept_by_sql VALUES (%s)", [pk])
            relay.tick()
        finally:
            cursor.execute("DROP TABLE kept_by_sql")
    assert exists(kept)
    assert not exists(other)


def test_a_row_of_the_result_storage_protects_its_job_only():
    kept, other = old(), old()

    def refuse(sender, instance, **kwargs):
        if instance.task_id == str(kept.pk):
            raise RuntimeError

    pre_delete.connect(refuse, sender=TaskResult)
    try:
        retention.sweep(10)
    finally:
        pre_delete.disconnect(refuse, sender=TaskResult)
    assert exists(kept)
    assert not exists(other)


def test_a_job_that_is_protected_no_more_goes(protect):
    kept = old()
    protect(kept, ProtectedError("kept", set()))
    retention.sweep(10)
    protect(kept, None)
    pre_delete.receivers, receivers = [], pre_delete.receivers
    pre_delete.sender_receivers_cache.clear()
    try:
        Job.objects.filter(pk=kept.pk).update(sweep_at=timezone.now() - AGO)
        retention.sweep(10)
    finally:
        pre_delete.receivers = receivers
        pre_delete.sender_receivers_cache.clear()
    assert not exists(kept)


def test_deleting_a_protected_job_hides_it(protect, client, django_user_model):
    """204, then 404; the row is purged when it can be."""
    owner = django_user_model.objects.create(username="alice")
    client.force_login(owner)
    job = make_job(tasks.add, state="succeeded", owner=owner)
    protect(job, ProtectedError("kept", set()))
    assert client.delete(f"/api/jobs/{job.pk}/").status_code == 204
    assert client.get(f"/api/jobs/{job.pk}/").status_code == 404
    assert client.delete(f"/api/jobs/{job.pk}/").status_code == 404
    job.refresh_from_db()
    assert job.forgotten
    assert job.sweep_at < timezone.now() + timedelta(hours=2)


@pytest.mark.parametrize("name", ["uploads", "response", "history", "input"])
def test_a_row_that_holds_no_json_is_purged(relay, protect, name):
    broken, other = old(), old()
    break_column(broken, name)
    retention.sweep(10)
    assert not exists(broken)
    assert not exists(other)


# --- Rows that cannot be taken or published ---------------------------------------------------------------------------


@pytest.mark.parametrize("retry", [True, False])
@pytest.mark.parametrize("name", ["history", "progress", "response"])
def test_a_lost_job_whose_row_holds_no_json_is_taken(relay, name, retry):
    broken, other = lost(retry_when_lost=retry, max_attempts=2, attempt=1), lost()
    break_column(broken, name)
    assert relay.tick()["lost"] == 2
    states = dict(Job.objects.values_list("pk", "state"))
    assert states == {broken.pk: "accepted" if retry else "failed", other.pk: "failed"}


def test_a_job_that_cannot_be_taken_is_tried_again_later(relay, clock, monkeypatch, caplog):
    job, tried, lose = lost(), [], Job.lose

    def fail(self, *args, **kwargs):
        tried.append(self.pk)
        raise RuntimeError("hunter2")

    monkeypatch.setattr(Job, "lose", fail)
    for _ in range(4):
        relay.tick()
    assert tried == [job.pk]
    assert caplog.text.count(f"Job {job.pk} cannot be taken from its worker: RuntimeError") == 1
    monkeypatch.setattr(Job, "lose", lose)
    clock.go_on(PAUSE)
    relay.lost.saw_database()
    assert relay.tick()["lost"] == 1


def test_many_jobs_that_cannot_be_taken_hide_no_other(relay, clock, monkeypatch):
    monkeypatch.setattr("async_accept.jobs.lost.BATCH", 2)
    for _ in range(2):
        lost(operation="broken")
    other = make_job(tasks.add, state="running", lease_until=timezone.now() - AGO / 2)
    lose = Job.lose
    monkeypatch.setattr(
        Job, "lose", lambda self, *a, **k: 1 / 0 if self.operation == "broken" else lose(self, *a, **k)
    )
    relay.tick()
    assert relay.tick()["lost"] == 1
    other.refresh_from_db()
    assert other.state == "failed"
    assert BATCH > 2


def test_a_due_job_whose_options_are_no_json_is_published(relay):
    broken = due()
    due()
    break_column(broken, "message_options")
    assert relay.tick()["published"] == 2


def test_a_task_that_nobody_knows_is_named_once(relay, monkeypatch, caplog):
    monkeypatch.setattr(due_module, "told", set())
    jobs = [make_job("shop.tasks.gone", dispatch_at=timezone.now() - AGO, dispatches=n) for n in (0, 5)]
    relay.tick()
    assert "shop.tasks.gone" not in caplog.text
    Job.objects.update(dispatch_at=timezone.now() - AGO)
    for _ in range(3):
        relay.tick()
        Job.objects.update(dispatch_at=timezone.now() - AGO)
    assert caplog.text.count("The task shop.tasks.gone is not known here") == 1
    assert {job.state for job in Job.objects.filter(pk__in=[job.pk for job in jobs])} == {"accepted"}


# --- act_on() ---------------------------------------------------------------------------------------------------------


def test_the_rows_that_fail_are_found_among_many():
    ids, bad, calls = list(range(500)), {7, 311}, []

    def act(part):
        calls.append(part)
        if bad & set(part):
            raise ValueError
        return len(part)

    done, failed = act_on(ids, act)
    assert (done, set(failed)) == (498, bad)
    assert len(calls) < 50


def test_it_ends_when_its_time_is_over(clock):
    def act(part):
        clock.go_on(1)
        raise ValueError

    done, failed = act_on(list(range(1000)), act, seconds=20, clock=clock)
    assert done == 0
    assert 1 <= len(failed) < 20


@pytest.mark.django_db(transaction=True)
def test_a_conflict_is_no_fault_of_a_row():
    """MariaDB and PostgreSQL end one of two transactions that wait for each other."""
    calls = []

    def act(part):
        calls.append(part)
        if len(calls) < 3:
            raise OperationalError(1213, "Deadlock found when trying to get lock")
        return len(part)

    assert act_on([1], act) == (1, {})


@pytest.mark.parametrize("number", [2002, 2006, 1040])
def test_another_database_that_is_away_stops_no_relay(relay, number):
    """A receiver of the project's writes to it."""
    kept, waiting = old(), due()

    def refuse(sender, instance, **kwargs):
        raise OperationalError(number, "Another server has gone away")

    pre_delete.connect(refuse, sender=Job)
    try:
        assert relay.tick()["published"] == 1
    finally:
        pre_delete.disconnect(refuse, sender=Job)
    assert exists(kept)
    assert Job.objects.get(pk=waiting.pk).dispatches == 1


# --- Storages -----------------------------------------------------------------------------------------------------


class Storage(FileSystemStorage):
    """Calls what a test wants before each deletion of a file."""

    before = staticmethod(lambda name: None)

    def delete(self, name):
        type(self).before(name)
        super().delete(name)


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "storage", lambda: Storage(tmp_path))
    monkeypatch.setattr(Storage, "before", staticmethod(lambda name: None))
    return tmp_path


def with_upload(**columns):
    job = make_job(tasks.echo, state="succeeded", **columns)
    name = uploads.storage().save(f"{folders.own(uploads.FOLDER)}/{job.pk.hex}/0", ContentFile(b"x"))
    Job.objects.filter(pk=job.pk).update(uploads=[name], sweep_at=timezone.now() - AGO)
    return job


def left(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def hanging(storage):
    """A storage that hangs until the test ends."""
    go_on, hangs = threading.Event(), threading.Event()

    def hang(name):
        hangs.set()
        go_on.wait(30)

    Storage.before = staticmethod(hang)
    yield hangs
    go_on.set()


@pytest.mark.django_db(transaction=True)
def test_a_storage_that_hangs_holds_up_nothing(relay, clock, hanging, caplog):
    poisoned, others = with_upload(), [with_upload() for _ in range(2)]
    relay.tick()
    assert hanging.wait(10)
    waiting, running, purged = due(), lost(), old()
    assert relay.tick() == {"lost": 1, "published": 1, "swept": 1}
    assert not exists(purged)
    assert waiting.pk in Job.objects.filter(dispatches=1).values_list("pk", flat=True)
    running.refresh_from_db()
    assert running.state == "failed"
    for _ in range(3):
        clock.go_on(Removal.HANGS + 1)
        relay.tick()
    told = [record.message for record in caplog.records if "hangs" in record.message]
    assert len(told) == 1
    (job,) = [job for job in (poisoned, *others) if str(job.pk) in told[0]]
    assert Job.objects.get(pk=job.pk).sweep_at > timezone.now() + timedelta(hours=23)
    assert relay.removal.is_free


@pytest.mark.django_db(transaction=True)
def test_files_are_removed_beside_the_relay(relay, storage):
    jobs = [with_upload() for _ in range(3)]
    forgotten = with_upload(forgotten=True)
    assert relay.tick()["swept"] == 4
    relay.removal.wait(10)
    assert left(storage) == []
    assert not exists(forgotten)
    for job in jobs:
        job.refresh_from_db()
        assert (job.uploads, job.sweep_at) == (None, job.expires_at)


@pytest.mark.django_db(transaction=True)
def test_two_relays_remove_no_file_twice(relay, clock, storage):
    removed = []
    Storage.before = staticmethod(lambda name: removed.append(name) if name.endswith("/0") else None)
    for _ in range(3):
        with_upload()
    other = Relay(relay.broker, clock)
    for each in (relay, other):
        each.sweep()
    for each in (relay, other):
        each.removal.wait(10)
    assert len(removed) == len(set(removed)) == 3


def test_a_process_that_dies_while_it_removes_files_leaves_nothing_for_ever(storage):
    """It holds them for ten minutes; then they are due again."""
    job = with_upload()
    assert retention.sweep(10, lambda jobs: True) == 1  # taken over, and never done
    assert retention.sweep(10) == 0
    job.refresh_from_db()
    assert timezone.now() < job.sweep_at < timezone.now() + timedelta(minutes=11)
    Job.objects.filter(pk=job.pk).update(sweep_at=timezone.now() - AGO)
    retention.sweep(10)
    assert left(storage) == []


def test_files_that_nobody_can_remove_now_wait_and_hide_no_row(storage):
    job, other = with_upload(), old()
    retention.sweep(10, lambda jobs: False)
    assert not exists(other)
    job.refresh_from_db()
    assert timezone.now() < job.sweep_at < timezone.now() + timedelta(minutes=2)
    assert retention.sweep(10) == 0


def test_a_file_that_cannot_be_removed_is_tried_again_until_its_row_is_purged(storage, caplog):
    def fail(name):
        raise PermissionError("hunter2")

    Storage.before = staticmethod(fail)
    job, gone = with_upload(), with_upload(forgotten=True)
    retention.sweep(10)
    job.refresh_from_db()
    assert job.uploads
    assert job.sweep_at > timezone.now() + timedelta(hours=23)
    assert not exists(gone)
    assert (
        f"could not be removed from {folders.own(uploads.FOLDER)}/{job.pk.hex}: PermissionError"
        in caplog.text
    )
    assert "hunter2" not in caplog.text
    Storage.before = staticmethod(lambda name: None)
    Job.objects.filter(pk=job.pk).update(sweep_at=timezone.now() - AGO)
    retention.sweep(10)
    job.refresh_from_db()
    assert job.uploads is None


@pytest.mark.django_db(transaction=True)
def test_a_relay_that_ends_leaves_the_rest_of_the_files(relay, storage):
    Storage.before = staticmethod(lambda name: relay.stop())
    for _ in range(3):
        with_upload()
    relay.tick()
    relay.removal.wait(10)
    assert len(left(storage)) == 2
