"""How the end of an attempt is stored."""

import errno
import os
from contextlib import suppress
from io import BytesIO
from tempfile import SpooledTemporaryFile

import pytest
from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.core.files.storage import FileSystemStorage
from django.db import DataError, IntegrityError, OperationalError, connection
from django.http import FileResponse
from django_celery_results.models import TaskResult

from async_accept import signals
from async_accept.db import errors as database_errors
from async_accept.db.updates import Upsert
from async_accept.exceptions import JobCanceled
from async_accept.jobs import results
from async_accept.jobs.attempt import Attempt
from async_accept.jobs.publish import run_here
from async_accept.jobs.stages import Progress
from async_accept.models import Job
from async_accept.tasks import JobTask, atomic_from_here
from async_accept.testing import make_job
from async_accept.worker import finish
from async_accept.worker.heartbeat import heartbeat
from tests.testapp.models import Note
from tests.testapp.tasks import add, count, crash, flaky, refuse, stop_me

#: It stands in no source line whole.
SECRET = "".join(["hun", "ter", "2"])


class Mute(dict):
    def __repr__(self):
        raise KeyError(SECRET)


@shared_task(base=JobTask)
def mute():
    return Mute(a=1)


@shared_task(base=JobTask, atomic=True)
def add_atomic(x, y):
    return x + y


@shared_task(base=JobTask)
def large():
    Note.objects.create(slug="a", title="A")
    return FileResponse(BytesIO(b"x" * 100_000))


@shared_task(base=JobTask, atomic=True)
def large_atomic():
    return large.run()


def failing(errors):
    """Let each statement that ends a job fail, as long as there are errors."""

    def execute(execute, sql, params, many, context):
        changes = sql.partition(" WHERE ")[0]
        if errors and "UPDATE" in changes and "finished_at" in changes:
            raise errors.pop(0)
        return execute(sql, params, many, context)

    return connection.execute_wrapper(execute)


@pytest.mark.django_db(transaction=True)
def test_an_end_is_kept_until_the_database_takes_it(monkeypatch):
    pauses = []
    monkeypatch.setattr(database_errors, "sleep", pauses.append)
    job = make_job(add, input={"x": 1, "y": 2})
    away = [OperationalError("gone"), OperationalError("gone")]
    with failing(away):
        run_here(job)
    job.refresh_from_db()
    assert (job.state, job.attempt, pauses) == ("succeeded", 1, list(database_errors.PAUSES[:2]))


@pytest.mark.django_db(transaction=True)
def test_progress_that_the_table_cannot_hold_costs_no_result():
    job = make_job(count, input={"to": 2})
    with failing([DataError("character")]):
        run_here(job)
    job.refresh_from_db()
    assert (job.state, job.progress) == ("succeeded", None)


@pytest.mark.django_db(transaction=True)
def test_a_result_that_the_table_cannot_hold_ends_the_job():
    """The table would refuse it after every attempt."""
    job = make_job(add, input={"x": 1, "y": 2})
    with failing([DataError("character")] * 2):
        run_here(job)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.problem["code"]) == ("failed", 1, "result-unencodable")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["before a try", "in a try"])
def test_a_soft_time_limit_does_not_forget_an_end(monkeypatch, where):
    """The work is over, and its end waits for a database that is away."""
    limit = [SoftTimeLimitExceeded()]

    def expire(seconds=0):
        if limit:
            raise limit.pop()

    job = make_job(add, input={"x": 1, "y": 2})
    monkeypatch.setattr(database_errors, "sleep", expire if where == "before a try" else lambda seconds: None)
    if where == "in a try":
        succeed = finish.results.succeed
        monkeypatch.setattr(finish.results, "succeed", lambda *a, **k: expire() or succeed(*a, **k))
    with failing([OperationalError("gone")]):
        run_here(job)
    job.refresh_from_db()
    assert (job.state, job.attempt, limit) == ("succeeded", 1, [])


@pytest.mark.django_db(transaction=True)
def test_an_end_that_can_never_be_stored_is_logged_and_left_to_the_lease(caplog):
    job = make_job(add, input={"x": 1, "y": 2})
    with failing([DataError("character")] * 5):
        run_here(job)
    job.refresh_from_db()
    assert job.state == "running"
    assert f"The end of job {job.pk} is not stored: DataError" in caplog.text


# --- Faults that are none of the database ------------------------------------------------------------------


class Broken(BaseException):
    pass


def stopping(count, error, keeps=0):
    """Return a function that raises *error* so often, after *keeps* calls that do nothing."""
    left = [None] * keeps + [error] * count

    def stop(*args, **kwargs):
        if left and (raised := left.pop(0)) is not None:
            raise raised

    return stop


def before(monkeypatch, owner, name, stop):
    """Let *stop* come before each call of a function."""
    function = getattr(owner, name)

    def stopped(*args, **kwargs):
        stop()
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, stopped)


FAULTS = [KeyError(SECRET), OSError(SECRET), RecursionError(SECRET), Broken(SECRET), SystemExit(SECRET)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("task", [add, add_atomic])
def test_a_result_that_cannot_be_stored_fails_the_job(monkeypatch, caplog, task, error):
    """One failure, one error in the log, and no success for the project's own hooks and receivers."""
    heard = []
    monkeypatch.setattr(JobTask, "on_success", lambda *args: heard.append("success"))
    monkeypatch.setattr(JobTask, "on_failure", lambda *args: heard.append("failure"))
    before(monkeypatch, Upsert, "params", stopping(2, error))
    job = make_job(task, input={"x": 1, "y": 2}, retry_when_lost=True)
    run_here(job)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.problem["code"], heard) == ("failed", 1, "failed", ["failure"])
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert job.problem["reference"] in record.message
    assert "raise raised" in record.exc_text
    assert SECRET not in caplog.text
    assert not heartbeat.attempts


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("owner", "name"),
    [(SpooledTemporaryFile, "write"), (FileSystemStorage, "_save")],
    ids=["spool", "storage"],
)
@pytest.mark.parametrize("task", [large, large_atomic])
def test_a_full_disk_fails_the_job_of_a_large_result(monkeypatch, settings, tmp_path, task, owner, name):
    """It ends, with a reference to the log, and no part of the file stays; atomic work is undone."""

    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    settings.MEDIA_ROOT = str(tmp_path)
    settings.ASYNC_ACCEPT = {"MAX_RESULT_BYTES": 10_000}
    monkeypatch.setattr(owner, name, fail)
    job = make_job(task, input={})
    run_here(job)
    job.refresh_from_db()
    assert (job.state, job.problem["code"], job.response) == ("failed", "failed", None)
    assert job.problem["reference"]
    assert Note.objects.exists() == (task is large)
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == []


@pytest.mark.django_db(transaction=True)
def test_progress_that_fails_costs_no_result(monkeypatch):
    job = make_job(count, input={"to": 2})
    before(monkeypatch, Progress, "snapshot", stopping(1, KeyError()))
    run_here(job)
    job.refresh_from_db()
    assert job.state == "succeeded"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("task", "code"), [(crash, "failed"), (refuse, "refused")], ids=["unknown", "with words"]
)
def test_a_failure_that_cannot_be_stored_whole_keeps_its_problem(monkeypatch, caplog, task, code, error):
    before(monkeypatch, Upsert, "params", stopping(2, error))
    job = make_job(task, retry_when_lost=True)
    run_here(job)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.problem["code"]) == ("failed", 1, code)
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [job.problem["reference"] in record.message for record in errors] == [True] * (task is crash)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_a_retry_that_cannot_be_stored_fails_the_job(monkeypatch, caplog, error):
    before(monkeypatch, Job, "give_back", stopping(2, error))
    job = make_job(flaky, input={"failures": 1})
    run_here(job)
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("failed", 1)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert job.problem["reference"] in record.message
    assert SECRET not in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [KeyError(), Broken()], ids=lambda error: type(error).__name__)
def test_a_cancel_that_cannot_be_stored_at_once_is_still_one(monkeypatch, error):
    before(monkeypatch, Job, "end_canceled", stopping(1, error))
    monkeypatch.setattr(Attempt, "checkpoint", stopping(1, JobCanceled()))
    job = make_job(stop_me)
    run_here(job)
    job.refresh_from_db()
    assert job.state == "canceled"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [KeyError(SECRET), Broken(SECRET)], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("task", [add, add_atomic])
def test_a_receiver_of_a_signal_costs_no_result(error, task):
    def listen(**kwargs):
        raise error

    signals.job_succeeded.connect(listen)
    try:
        job = make_job(task, input={"x": 1, "y": 2})
        run_here(job)
    finally:
        signals.job_succeeded.disconnect(listen)
    job.refresh_from_db()
    assert (job.state, results.read(job)) == ("succeeded", "3")


@pytest.mark.django_db(transaction=True)
def test_a_value_that_cannot_say_itself_is_a_result_all_the_same(caplog):
    """Celery tells the log what a task returns."""
    job = make_job(mute)
    run_here(job)
    job.refresh_from_db()
    assert (job.state, results.read(job)) == ("succeeded", '{"a":1}')
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.django_db(transaction=True)
def test_an_error_whose_first_argument_is_a_list_fails_the_job(monkeypatch):
    """Drivers put a number there."""

    def work(*args, **kwargs):
        raise OperationalError(["gone"])

    monkeypatch.setattr(crash, "run", work)
    job = make_job(crash)
    run_here(job)
    job.refresh_from_db()
    assert job.state == "failed"


@pytest.mark.django_db(transaction=True)
def test_an_own_answer_of_an_exception_is_no_response(monkeypatch):
    """Only ``ViewFailed`` has one that the result URL gives."""

    class Riddle(Exception):
        answer = 42

    def work(*args, **kwargs):
        raise Riddle

    monkeypatch.setattr(crash, "run", work)
    job = make_job(crash)
    run_here(job)
    job.refresh_from_db()
    assert (job.state, job.response) == ("failed", None)
    assert "Riddle" in TaskResult.objects.get(task_id=job.pk).traceback


@shared_task(base=JobTask, atomic=True, retry_when_lost=True, max_attempts=2)
def catches_a_conflict():
    Note.objects.create(slug="a", title="A")
    _conflict()
    return "done"


@shared_task(base=JobTask, retry_when_lost=True, max_attempts=2)
def catches_a_late_conflict():
    atomic_from_here()
    return catches_a_conflict.run()


def _conflict():
    """Let the server end the transaction, as it ends one of two that wait for each other."""
    with suppress(OperationalError), connection.cursor() as cursor:
        cursor.execute("ROLLBACK")
        cursor.execute("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213")


@pytest.mark.mariadb
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("task", [catches_a_conflict, catches_a_late_conflict])
def test_work_that_was_rolled_back_is_no_success(task):
    """InnoDB rolls back all of it after a deadlock, and goes on with the next statement."""
    job = make_job(task, input={})
    run_here(job)
    job.refresh_from_db()
    assert (job.state, job.history[0]["reason"]) == ("accepted", "database: OperationalError")
    assert not Note.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_end_that_is_not_committed_is_forgotten(monkeypatch):
    """The next one begins where the work was, and its receivers see nothing of the first one's result."""
    job, told = make_job(add_atomic, input={"x": 1, "y": 2}), []

    def commit():
        monkeypatch.undo()
        raise IntegrityError("a deferred constraint")

    def succeed(*args, **kwargs):
        monkeypatch.setattr(connection, "commit", commit)
        return stored(*args, **kwargs)

    def tell(sender, job, before, **kwargs):
        told.append((before, job.response))

    stored = results.succeed
    monkeypatch.setattr(results, "succeed", succeed)
    signals.job_failed.connect(tell, sender=Job)
    try:
        run_here(job)
    finally:
        signals.job_failed.disconnect(tell, sender=Job)
    job.refresh_from_db()
    assert (job.state, told) == ("failed", [("running", None)])
