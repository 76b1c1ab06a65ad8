"""UPDATEs that are compiled once, and the row that is written together with one."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q
from django.test.utils import CaptureQueriesContext
from django_celery_results.models import TaskResult

from async_accept.db import functions, updates
from async_accept.db.updates import Slot, Upsert, update
from async_accept.jobs.results import META, OURS
from async_accept.models import LATER, Job, database_now
from async_accept.states import State
from async_accept.testing import make_job
from tests.testapp.tasks import add

pytestmark = pytest.mark.django_db

KIND = "a kind of this test"


@pytest.fixture(autouse=True)
def _forget():
    yield
    for key in [key for key in updates._compiled if key[1] == KIND]:
        del updates._compiled[key]


def rows():
    return Job.objects.filter(pk=Slot("pk", Job._meta.pk), state__in=["accepted", "running"])


def change(job, changes, kind=KIND, **values):
    return update(kind, rows, changes, {"pk": job.pk, **values}, "default")


def test_it_changes_what_the_orm_changes():
    """Every kind of column: text, numbers, JSON, times, foreign keys, and nothing."""
    job, other, third = make_job(add), make_job(add), make_job(add)
    changes = {
        "worker": 'O\'Neil "%s" ä\\',
        "worker_pid": 7,
        "progress": {"percent": 1.5, "message": "it's 50 %"},
        "history": None,
        "started_at": database_now(),
        "owner_id": 3,
        "forgotten": True,
        "attempt": F("attempt") + 1,
    }
    Job.objects.filter(pk=third.pk).update(**changes)
    expected = Job.objects.filter(pk=third.pk).values(*changes).get()
    assert change(job, changes)
    assert change(other, {**changes, "worker": "another"})  # the kind is known by now
    assert Job.objects.filter(pk=job.pk).values(*changes).get() == expected
    assert Job.objects.filter(pk=other.pk).values(*changes).get() == {**expected, "worker": "another"}


def test_the_second_one_of_a_kind_is_not_compiled(monkeypatch):
    job = make_job(add)
    assert change(job, {"worker": "a"})
    monkeypatch.setattr(updates, "compile_update", None)
    assert change(job, {"worker": "b"})
    job.refresh_from_db()
    assert job.worker == "b"


def test_without_a_kind_nothing_is_kept():
    before = dict(updates._compiled)
    assert change(make_job(add), {"worker": "a"}, kind=None)
    assert updates._compiled == before


def test_a_row_that_does_not_match_is_left():
    job = make_job(add, state="succeeded")
    assert not change(job, {"worker": "a"})
    job.refresh_from_db()
    assert job.worker != "a"


@pytest.mark.parametrize("days", [0, 1, 400])
def test_a_delay_is_added_by_the_database(days):
    job = make_job(add)
    for _ in range(2):
        assert change(job, {"dispatch_at": LATER}, delay=timedelta(days=days, seconds=1.5))
        job.refresh_from_db()
        late = job.dispatch_at - database_now() - timedelta(days=days)
        assert timedelta(0) < late <= timedelta(seconds=1.6)


def test_summer_time_changes_the_statement(monkeypatch):
    """On SQLite and MariaDB, the database's time as the columns have it is ahead of UTC by what is in the text."""
    job = make_job(add)
    monkeypatch.setattr(functions, "offset_seconds", lambda connection: 7200)
    monkeypatch.setattr(updates, "offset_seconds", lambda connection: 7200)
    assert change(job, {"dispatch_at": LATER}, delay=timedelta())
    monkeypatch.undo()
    assert change(job, {"dispatch_at": LATER}, delay=timedelta())
    job.refresh_from_db()
    assert abs(job.dispatch_at - database_now()) < timedelta(minutes=1)


def test_an_error_spoils_the_transaction_around_it():
    """As with ``QuerySet.update()``: nobody may go on as if nothing had happened."""
    make_job(add, active_key="a")
    job = make_job(add)
    with transaction.atomic():
        with pytest.raises(IntegrityError):
            change(job, {"active_key": "a"})
        assert connection.needs_rollback
        connection.set_rollback(True)


# --- With another row: by one statement, and by two ------------------------------------------------------------------


@pytest.fixture(params=["by one statement", "by two"])
def at_once(request, monkeypatch):
    if request.param == "by two":
        monkeypatch.setattr(updates, "_takes_both", lambda using, beside: False)
    elif connection.vendor != "postgresql":
        pytest.skip("Only PostgreSQL writes two tables by one statement.")
    return request.param == "by one statement"


def result(job, body="1"):
    row = TaskResult(task_id=str(job.pk), task_name=job.task, status="SUCCESS", result=body, meta=META)
    return Upsert(row, key="task_id", updated=OURS)


def end(job, body="1"):
    now = database_now()
    changes = {"state": State.SUCCEEDED, "dispatch_at": None, "finished_at": now}
    return update(KIND, rows, changes, {"pk": job.pk}, "default", result(job, body))


def test_both_are_written(at_once):
    job = make_job(add)
    with CaptureQueriesContext(connection) as queries:
        assert end(job, "it's ä %s (1) VALUES (2)")
    assert len(queries) == (1 if at_once else 2)
    job.refresh_from_db()
    row = TaskResult.objects.get()
    assert (job.state, row.task_id, row.result) == ("succeeded", str(job.pk), "it's ä %s (1) VALUES (2)")
    assert (row.task_args, row.periodic_task_name, row.date_started) == (None, None, None)
    assert row.date_created == row.date_done or row.date_created < row.date_done


def test_neither_is_written_if_the_row_does_not_match(at_once):
    job = make_job(add, state="canceled")
    assert not end(job)
    assert not TaskResult.objects.exists()


def test_a_row_of_the_same_key_is_written_over(at_once):
    job = make_job(add)
    TaskResult.objects.create(task_id=str(job.pk), status="PENDING", result="old", task_args="kept")
    assert end(job, "new")
    row = TaskResult.objects.get()
    assert (row.status, row.result, row.task_args) == ("SUCCESS", "new", "kept")


@pytest.mark.django_db(transaction=True)
def test_neither_is_written_if_the_other_is_refused(at_once):
    job = make_job(add)
    row = result(job)
    row.row.status = None
    with pytest.raises(IntegrityError):
        update(
            KIND,
            rows,
            {"state": State.SUCCEEDED, "dispatch_at": None, "finished_at": database_now()},
            {"pk": job.pk},
            "default",
            row,
        )
    assert Job.objects.filter(Q(state="accepted"), pk=job.pk).exists()
    assert not TaskResult.objects.exists()
