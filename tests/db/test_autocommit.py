"""Code for autocommit inside of a transaction: what it sees, and what is left of it."""

# ruff: noqa: PT012 what is raised leaves a whole transaction

import pytest
from django.db import (
    DataError,
    Error,
    IntegrityError,
    OperationalError,
    close_old_connections,
    connection,
    transaction,
)
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from async_accept.db.autocommit import as_in_autocommit
from async_accept.models import database
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


def write(slug):
    return Note.objects.create(slug=slug, title=slug)


def slugs():
    return sorted(Note.objects.values_list("slug", flat=True))


class Undo(Exception):
    """Rolls back."""


@pytest.fixture
def inside():
    """The code of the test runs as in autocommit, in a transaction that is committed after it."""
    with transaction.atomic(), as_in_autocommit(database()):
        yield


def test_it_looks_like_autocommit(inside):
    assert transaction.get_autocommit()
    assert not connection.in_atomic_block


@pytest.mark.parametrize(
    "fail",
    [
        lambda: write("a"),
        lambda: Note.objects.bulk_create([Note(slug="b"), Note(slug="a")]),
        lambda: Note.objects.filter(slug="x").update(slug="a"),
        lambda: connection.cursor().execute("SELECT nothing FROM nowhere"),
        lambda: connection.cursor().execute("no SQL"),
    ],
    ids=["create", "bulk_create", "update", "select", "nonsense"],
)
def test_what_fails_costs_its_own_statement_only(inside, fail):
    write("a")
    write("x")
    with pytest.raises(Error):
        fail()
    write("c")
    assert slugs() == ["a", "c", "x"]


@pytest.mark.parametrize("savepoint", [True, False])
@pytest.mark.parametrize("durable", [True, False])
def test_a_block_is_undone_as_one(inside, savepoint, durable):
    write("a")
    with pytest.raises(Undo), transaction.atomic(savepoint=savepoint, durable=durable):
        write("b")
        raise Undo
    write("c")
    with transaction.atomic(savepoint=savepoint, durable=durable):
        write("d")
    assert slugs() == ["a", "c", "d"]


def test_blocks_within_blocks(inside):
    with transaction.atomic():
        write("a")
        with pytest.raises(IntegrityError), transaction.atomic():
            write("b")
            write("a")
        with pytest.raises(RuntimeError), transaction.atomic(durable=True):
            pass
        transaction.set_rollback(True)
    assert slugs() == []
    with pytest.raises(TransactionManagementError):
        transaction.set_rollback(True)


def test_an_error_inside_of_a_block_breaks_the_block_as_ever(inside):
    with pytest.raises(TransactionManagementError), transaction.atomic():
        write("a")
        with pytest.raises(IntegrityError):
            write("a")
        write("b")
    write("c")
    assert slugs() == ["c"]


def test_transactions_by_hand(inside):
    transaction.set_autocommit(False)
    write("a")
    transaction.commit()
    write("b")
    transaction.rollback()
    write("c")
    transaction.set_autocommit(True)
    assert slugs() == ["a", "c"]
    transaction.rollback()
    transaction.commit()
    assert slugs() == ["a", "c"]


def test_closing_the_connection_loses_nothing():
    with transaction.atomic():
        with as_in_autocommit(database()):
            write("a")
            connection.close()
            close_old_connections()
            write("b")
        assert connection.in_atomic_block
    assert slugs() == ["a", "b"]


def test_the_outer_transaction_takes_all_of_it_back():
    with pytest.raises(Undo), transaction.atomic():
        with as_in_autocommit(database()):
            write("a")
            with transaction.atomic():
                write("b")
        raise Undo
    assert slugs() == []


def test_an_error_that_leaves_it_is_the_outer_ones():
    with pytest.raises(Undo), transaction.atomic(), as_in_autocommit(database()):
        write("a")
        raise Undo
    assert slugs() == []
    assert "commit" not in vars(connection)


def test_callbacks_wait_for_the_outer_commit():
    done = []
    with transaction.atomic():
        with as_in_autocommit(database()):
            transaction.on_commit(lambda: done.append("outside"))
            with transaction.atomic():
                transaction.on_commit(lambda: done.append("in a block"))
            with pytest.raises(Undo), transaction.atomic():
                transaction.on_commit(lambda: done.append("undone"))
                raise Undo
            with pytest.raises(TypeError):
                transaction.on_commit("nothing")
        assert done == []
    assert done == ["outside", "in a block"]


def test_callbacks_go_with_the_block_around():
    done = []
    with transaction.atomic(), pytest.raises(Undo), transaction.atomic():
        with as_in_autocommit(database()):
            transaction.on_commit(lambda: done.append("undone"))
        raise Undo
    assert done == []


def test_one_inside_of_another_one():
    """A job that is run inside of another one's, in eager mode."""
    with transaction.atomic(), as_in_autocommit(database()):
        write("a")
        with pytest.raises(Undo), transaction.atomic(), as_in_autocommit(database()):
            write("b")
            raise Undo
        with transaction.atomic(), as_in_autocommit(database()):
            write("c")
        write("d")
        assert transaction.get_autocommit()
    assert slugs() == ["a", "c", "d"]


def test_a_reference_to_nowhere_is_found_at_once(inside):
    """By the statement, as in autocommit. SQLite finds it at the commit of the job; see the note there."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite cannot be asked.")
    with pytest.raises(IntegrityError):
        Note.objects.create(slug="x", owner_id=999)
    with pytest.raises(IntegrityError), transaction.atomic():
        Note.objects.create(slug="x", owner_id=999)
    write("a")
    assert slugs() == ["a"]


def test_a_deadlock_that_took_the_outer_transaction_is_no_success():
    """MariaDB rolls everything back; the code that caught the error does not know."""
    if connection.vendor == "postgresql":
        pytest.skip("A savepoint survives a deadlock.")
    deadlock = OperationalError(1213, "Deadlock found")

    def fail(execute, sql, params, many, context):
        raise deadlock

    with pytest.raises(OperationalError), transaction.atomic(), as_in_autocommit(database()):
        write("a")
        with connection.execute_wrapper(fail), pytest.raises(OperationalError):
            write("b")
        with pytest.raises(OperationalError):
            write("c")
    assert slugs() == []


def test_what_it_costs(inside):
    """On PostgreSQL two statements more for each one outside of a block, elsewhere none."""
    with CaptureQueriesContext(connection) as queries:
        write("a")
    assert len(queries) == (3 if connection.vendor == "postgresql" else 1)
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        write("b")
        write("c")
    assert len(queries) == 4


def test_a_bad_value_is_the_works_error(inside):
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL only.")
    with pytest.raises(DataError):
        connection.cursor().execute("SELECT 'x'::integer")
    write("a")
    assert slugs() == ["a"]
