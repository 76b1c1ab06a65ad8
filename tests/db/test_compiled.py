"""What is compiled once does what the ORM does each time."""

from copy import copy
from datetime import UTC, datetime

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connection, transaction
from django.db.models.signals import post_save

from async_accept.db.compiled import Lookup, insert, insert_if_free
from async_accept.models import Job, JoinedKey, new_id
from async_accept.problems import problem

pytestmark = pytest.mark.django_db

#: A time that no clock of a database rounds.
NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def plain(row, using):
    row.save(force_insert=True, using=using)


#: The compiled form, and the plain one that it must equal.
FORMS = pytest.mark.parametrize("store", [insert, insert_if_free, plain])


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


@pytest.mark.parametrize("store", [insert, plain])
def test_a_failed_insert_breaks_the_callers_transaction(store):
    row = new()
    with transaction.atomic():
        store(row, "default")
        with pytest.raises(IntegrityError):
            store(row, "default")
        assert connection.needs_rollback
        transaction.set_rollback(True)


@pytest.fixture
def heard():
    """The rows of which listeners of ``save()`` hear."""
    rows = []
    post_save.connect(listen := lambda instance, **_: rows.append(instance), sender=Job)
    yield rows
    post_save.disconnect(listen, sender=Job)


@pytest.mark.parametrize("store", [insert, insert_if_free])
def test_listeners_of_save_hear_of_it(store, heard):
    store(row := new(), "default")
    assert heard == [row]


def is_left_alone(key):
    """Whether a second row with a key of the first one is not stored, and the transaction goes on."""
    first, second = new(**{key: "k"}), new(**{key: "k"})
    with transaction.atomic():
        assert insert_if_free(first, "default")
        is_stored = insert_if_free(second, "default")
        assert Job.objects.get() == first
    return not is_stored and second._state.adding


@pytest.mark.parametrize("key", ["idempotency_key", "active_key"])
def test_a_row_whose_key_is_taken_is_left_alone(key):
    assert is_left_alone(key)


def test_the_same_if_somebody_listens_to_save(heard):
    assert is_left_alone("idempotency_key")


@pytest.mark.parametrize("store", [insert, insert_if_free])
def test_a_row_that_lacks_a_value_is_an_error(store):
    row = new()
    row.max_attempts = None
    with transaction.atomic(), pytest.raises(IntegrityError):
        store(row, "default")


def compiled(rows, name, value):
    return Lookup(lambda: rows, name).find(value, "default")


def looked_up(rows, name, value):
    return rows.filter(**{name: value}).first()


@pytest.mark.parametrize("name", ["id", "idempotency_key"])
@pytest.mark.parametrize("rows", [Job.objects.all, Job.objects.light], ids=["all", "light"])
def test_a_row_is_that_of_the_orm(rows, name, full):
    plain(full, "default")
    value = getattr(full, name)
    job, same = compiled(rows(), name, value), looked_up(rows(), name, value)
    ours, theirs = vars(job), vars(same)
    assert vars(ours.pop("_state"))["db"] == vars(theirs.pop("_state"))["db"] == "default"
    assert ours == theirs
    assert [type(value) for value in ours.values()] == [type(value) for value in theirs.values()]


@pytest.mark.parametrize("find", [compiled, looked_up])
def test_a_row_that_is_not_there(find):
    assert find(Job.objects.light(), "id", new_id()) is None
