"""What is compiled once does what the ORM does each time."""

from copy import copy
from datetime import UTC, datetime

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connection, transaction
from django.db.models.signals import post_save

from async_accept.db.compiled import Lookup, insert
from async_accept.models import Job, JoinedKey, new_id
from async_accept.problems import problem

pytestmark = pytest.mark.django_db

#: A time that no clock of a database rounds.
NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def plain(row, using):
    row.save(force_insert=True, using=using)


#: The compiled form, and the plain one that it must equal.
FORMS = pytest.mark.parametrize("store", [insert, plain])


def new(**columns):
    return Job(operation="test", task="shop.tasks.add", created_at=NOON, dispatch_at=NOON, **columns)


@pytest.fixture
def full(django_user_model):
    """A job with a value in every column that an accept can set."""
    return new(
        owner=django_user_model.objects.create(username="alice"),
        object_type=ContentType.objects.get_for_model(Job),
        object_id="7",
        rerun_of=new_id(),
        input={"b": 1, "a": "é"},
        uploads=["x/y"],
        request={"method": "POST"},
        message_options={"queue": "slow"},
        max_attempts=3,
        retry_when_lost=True,
        idempotency_key="k" * 64,
        fingerprint="f" * 64,
        active_key="a" * 64,
        active_hash="a" * 64,
        sequence=2**40,
        problem=problem("lost"),
        retry_after=7,
        worker_pid=4711,
        attempt=2,
        log="line",
        anonymous=True,
    )


def executed(store, row):
    """Return the statements that *store* executes, with their parameters."""
    found = []

    def note(execute, sql, params, many, context):
        found.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note), transaction.atomic():
        store(copy(row), "default")
        transaction.set_rollback(True)
    return [(sql, list(params)) for sql, params in found if sql.startswith("INSERT")]


def test_the_insert_is_that_of_the_orm(full):
    for row in (full, new(), JoinedKey(pk="k", job_id=new_id(), created_at=NOON)):
        [inserted] = executed(insert, row)
        assert [inserted] == executed(plain, row)


@FORMS
def test_an_inserted_row_is_read_back_as_it_was(store, full):
    store(full, "default")
    stored = Job.objects.get()
    for field in Job._meta.concrete_fields:
        assert getattr(stored, field.attname) == getattr(full, field.attname), field.name


@FORMS
def test_an_inserted_row_knows_that_it_is_stored(store, full):
    store(full, "default")
    assert (full._state.adding, full._state.db) == (False, "default")


@FORMS
def test_a_failed_insert_breaks_the_callers_transaction(store):
    row = new()
    with transaction.atomic():
        store(row, "default")
        with pytest.raises(IntegrityError):
            store(row, "default")
        assert connection.needs_rollback
        transaction.set_rollback(True)


def test_listeners_of_save_hear_of_it():
    heard = []
    post_save.connect(listen := lambda instance, **_: heard.append(instance), sender=Job)
    try:
        insert(row := new(), "default")
    finally:
        post_save.disconnect(listen, sender=Job)
    assert heard == [row]


def compiled(rows, pk):
    return Lookup(lambda: rows).find(pk, "default")


def looked_up(rows, pk):
    return rows.filter(pk=pk).first()


@pytest.mark.parametrize("rows", [Job.objects.all, Job.objects.light], ids=["all", "light"])
def test_a_row_is_that_of_the_orm(rows, full):
    plain(full, "default")
    job, same = compiled(rows(), full.pk), looked_up(rows(), full.pk)
    ours, theirs = vars(job), vars(same)
    assert vars(ours.pop("_state"))["db"] == vars(theirs.pop("_state"))["db"] == "default"
    assert ours == theirs
    assert [type(value) for value in ours.values()] == [type(value) for value in theirs.values()]


@pytest.mark.parametrize("find", [compiled, looked_up])
def test_a_row_that_is_not_there(find):
    assert find(Job.objects.light(), new_id()) is None
