"""Which errors say that the database is away, and which that another transaction went first; what is tried again."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest
from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)

from async_accept.db import errors
from async_accept.db.errors import (
    PAUSES,
    TRIES,
    again_after_conflict,
    again_after_outage,
    is_conflict,
    is_outage,
    is_passing,
)
from tests.locks import locked
from tests.testapp.models import Note


def caused(error: Error, cause: Exception) -> Error:
    error.__cause__ = cause
    return error


class DriverError(Exception):
    def __init__(self, *args: object, **attributes: object) -> None:
        super().__init__(*args)
        vars(self).update(attributes)


def sqlites(kind, code, message="failed"):
    """An error as SQLite reports it; *code* may be an extended one."""
    cause = getattr(sqlite3, kind.__name__)(message)
    if code is not None:
        cause.sqlite_errorcode = code
    return caused(kind(message), cause)


def state(kind, code):
    return caused(kind("failed"), DriverError("failed", sqlstate=code))


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("server closed the connection unexpectedly"),
        InterfaceError("connection already closed"),
        *(state(OperationalError, code) for code in ("08006", "08P01", "57P01", "57P03", "53300", "53100")),
        *(state(OperationalError, code) for code in ("58030", "40003")),
        *(OperationalError(number, "failed") for number in (1040, 1053, 1203, 2002, 2003, 2006, 2013, 4031)),
        caused(OperationalError("gone"), DriverError(2013, "Lost connection to server during query")),
        caused(OperationalError("ended"), DriverError(1927, "Connection was killed", sqlstate="70100")),
        caused(OperationalError("ended"), DriverError("shut down", pgcode="57P01")),
        InterfaceError(0, ""),
        *(sqlites(OperationalError, code) for code in (10, 10 | 3 << 8, 13, 14, 8)),
        caused(InternalError("read-only"), DriverError("read-only", sqlstate="25006")),
        caused(InternalError("read-only"), DriverError("read-only", pgcode="25006")),
        caused(InternalError("read-only"), DriverError(1290, "running with the --read-only option")),
        InternalError(1836, "Running in read-only mode"),
    ],
)
def test_a_database_that_is_away_or_only_reads_is_an_outage(error):
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        InternalError("current transaction is aborted"),
        InternalError(),
        caused(InternalError("aborted"), DriverError("aborted", sqlstate="25P02")),
        IntegrityError("duplicate key"),
        OperationalError(1366, "Incorrect string value"),
        OperationalError(1071, "Specified key was too long"),
        OperationalError(1153, "Got a packet bigger than 'max_allowed_packet' bytes"),
        *(state(OperationalError, code) for code in ("54000", "54001", "55000", "53400", "25P03", "0A000")),
        OperationalError("sending query failed: number of parameters must be between 0 and 65535"),
        InterfaceError("the cursor is closed"),
        sqlites(OperationalError, 1, "no such column: x"),
        sqlites(OperationalError, None, "Could not decode to UTF-8 column"),
        sqlites(OperationalError, 9, "interrupted"),
        sqlites(InterfaceError, 21, "bad parameter or other API misuse"),
        DataError("out of range"),
        ProgrammingError("no such column"),
        DriverError(1290),
        ConnectionError(1290),
        RuntimeError("25006"),
    ],
)
def test_what_is_wrong_with_a_statement_is_none(error):
    assert not is_outage(error)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_postgresql_after_a_failover_is_one():
    """The server's own error, in a session that may only read."""

    def write():
        with transaction.atomic():
            connection.cursor().execute("SET TRANSACTION READ ONLY")
            Note.objects.create(slug="a", title="A")

    with pytest.raises(Error) as caught:
        write()
    assert not isinstance(caught.value, OperationalError)
    assert is_outage(caught.value)


@pytest.mark.parametrize(
    ("error", "passes", "own"),
    [
        (OperationalError("server closed the connection unexpectedly"), True, True),
        (state(OperationalError, "40001"), True, True),
        (state(OperationalError, "40P01"), True, True),
        (state(OperationalError, "55P03"), True, True),
        (OperationalError(1205, "Lock wait timeout exceeded"), True, True),
        (OperationalError(3572, "Statement aborted because lock(s) could not be acquired"), True, True),
        (sqlites(OperationalError, 5, "database is locked"), True, True),
        (sqlites(OperationalError, 5 | 2 << 8, "database is locked"), True, True),
        (state(OperationalError, "57014"), False, True),
        (OperationalError(1969, "Query execution was interrupted"), False, True),
        (OperationalError(3024, "Query execution was interrupted"), False, True),
        (state(OperationalError, "54000"), False, False),
        (IntegrityError("duplicate key"), False, False),
        (RuntimeError("40P01"), False, False),
    ],
)
def test_what_may_succeed_a_moment_later_passes(error, passes, own):
    """Statements that take too long are a fault of the project's; the app's own are short."""
    assert (is_passing(error), is_passing(error, own=True)) == (passes, own)


def fault_of(*statements):
    """Return the error of these statements, with what is open rolled back after it."""

    def run():
        with transaction.atomic(), connection.cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)

    with pytest.raises(Error) as caught:
        run()
    return caught.value


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_postgresqls_own_errors_are_told_apart():
    long = "SELECT string_agg(md5(n::text), '') FROM generate_series(1, 400) n"
    assert not is_passing(fault_of("CREATE TEMP TABLE long (v text UNIQUE)", f"INSERT INTO long {long}"))
    slow = fault_of("SET LOCAL statement_timeout = 10", "SELECT pg_sleep(5)")
    assert (is_passing(slow), is_passing(slow, own=True)) == (False, True)
    ended = fault_of("SELECT pg_terminate_backend(pg_backend_pid())")
    assert is_outage(ended)
    connection.close()


@pytest.mark.mariadb
@pytest.mark.django_db(transaction=True)
def test_mariadbs_own_errors_are_told_apart():
    assert not is_passing(fault_of("SELECT CAST('x' AS nothing)"))
    slow = fault_of(
        "SET STATEMENT max_statement_time=0.01 FOR SELECT SLEEP(5) FROM information_schema.tables"
    )
    assert (is_passing(slow), is_passing(slow, own=True)) == (False, True)
    ended = fault_of("KILL CONNECTION_ID()")
    assert is_outage(ended)
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_lock_that_another_holds_passes():
    note = Note.objects.create(slug="a", title="A")
    with locked(Note.objects.all()), pytest.raises(OperationalError) as caught, transaction.atomic():
        Note.objects.select_for_update(nowait=True).get(pk=note.pk)
    assert is_passing(caught.value)
    assert not is_outage(caught.value)
    assert not is_conflict(caught.value)


DEADLOCK = caused(OperationalError("deadlock"), DriverError("deadlock", sqlstate="40P01"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DEADLOCK, True),
        (caused(OperationalError("serialize"), DriverError("serialize", sqlstate="40001")), True),
        (OperationalError(1213, "Deadlock found when trying to get lock"), True),
        (OperationalError(1205, "Lock wait timeout exceeded"), False),
        (OperationalError("server closed the connection unexpectedly"), False),
        (IntegrityError("duplicate key"), False),
        (DriverError(1213), False),
    ],
)
def test_who_had_to_make_way_for_another_is_known_by_the_code(error, expected):
    assert is_conflict(error) is expected


AWAY = OperationalError("server closed the connection unexpectedly")


@pytest.fixture
def victim():
    """A statement that fails as often as it is told, and then is done."""

    def make(times, error=DEADLOCK):
        def write():
            write.given += 1
            if write.given <= times:
                raise error
            return "done"

        write.given = 0
        return write

    return make


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that were made, in seconds, without waiting."""
    pauses = []
    monkeypatch.setattr(errors, "sleep", pauses.append)
    return pauses


@pytest.mark.django_db(transaction=True)
def test_while_the_database_is_away_a_statement_is_given_again(victim, pauses):
    """Each time on a fresh connection."""
    connection.ensure_connection()
    assert again_after_outage(victim(4, AWAY), "default", monotonic() + 60) == "done"
    assert pauses == [*PAUSES, PAUSES[-1]]
    assert connection.connection is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("error", "options"),
    [
        (AWAY, {"until": 0.0}),
        (AWAY, {"unless": lambda: True}),
        (DataError("out of range"), {}),
    ],
    ids=["the time is over", "nobody waits for it any more", "no outage"],
)
def test_a_statement_is_given_up(victim, pauses, error, options):
    write = victim(9, error)
    with pytest.raises(type(error)):
        again_after_outage(write, "default", **{"until": monotonic() + 60} | options)
    assert (write.given, pauses) == (1, [])


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_its_owner_hears_of_the_outage(victim, pauses):
    write = victim(1, AWAY)
    with pytest.raises(OperationalError), transaction.atomic():
        again_after_outage(write, "default", monotonic() + 60)
    assert (write.given, pauses) == (1, [])


@pytest.mark.django_db(transaction=True)
def test_the_victim_of_a_deadlock_is_given_again(victim):
    assert again_after_conflict(victim(TRIES - 1), "default") == "done"


@pytest.mark.django_db(transaction=True)
def test_but_not_for_ever(victim):
    write = victim(TRIES)
    with pytest.raises(OperationalError):
        again_after_conflict(write, "default")
    assert write.given == TRIES


@pytest.mark.django_db(transaction=True)
def test_an_outage_is_not_given_again(victim):
    write = victim(1, AWAY)
    with pytest.raises(OperationalError):
        again_after_conflict(write, "default")
    assert write.given == 1


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_its_owner_hears_of_the_conflict(victim):
    write = victim(1)
    with pytest.raises(OperationalError), transaction.atomic():
        again_after_conflict(write, "default")
    assert write.given == 1


@pytest.mark.django_db(transaction=True)
def test_a_real_deadlock_costs_nobody_a_write():
    """Two rows taken in both orders: one of the two transactions ends for the other, and its statement goes again."""
    if connection.vendor == "sqlite":
        pytest.skip("sqlite locks no rows")
    notes = [Note.objects.create(slug=slug, title="A") for slug in "ab"]
    taken = [threading.Event(), threading.Event()]

    def rename(mine, other, title):
        def write():
            with transaction.atomic():
                Note.objects.filter(pk=notes[mine].pk).update(title=title)
                taken[mine].set()
                assert taken[other].wait(20)
                Note.objects.filter(pk=notes[other].pk).update(title=title)

        try:
            again_after_conflict(write, "default")
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(rename, 0, 1, "B"), threads.submit(rename, 1, 0, "C")]:
            done.result(30)
    assert set(Note.objects.values_list("title", flat=True)) in ({"B"}, {"C"})
