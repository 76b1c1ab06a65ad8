"""Which errors say that the database is away."""

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

from async_accept.outages import is_outage
from tests.testapp.models import Note


def caused(error: Error, cause: Exception) -> Error:
    error.__cause__ = cause
    return error


class DriverError(Exception):
    def __init__(self, *args: object, **attributes: object) -> None:
        super().__init__(*args)
        vars(self).update(attributes)


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("server closed the connection unexpectedly"),
        InterfaceError("connection already closed"),
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
