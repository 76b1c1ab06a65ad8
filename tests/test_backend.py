"""What Celery is told of an error, and what reaches a job from outside."""

import pickle
from contextlib import suppress

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.exceptions import InvalidTaskError, Retry, SoftTimeLimitExceeded
from celery.utils.serialization import get_pickleable_exception
from django.db import DataError, OperationalError, connection
from django.utils import timezone

from async_accept import backend, tasks
from async_accept.dispatch import HEADER, run_here
from async_accept.exceptions import JobFailed, WorkEnded, WorkFailed
from async_accept.models import Job
from async_accept.testing import make_job
from tests.testapp.tasks import add, count

SECRET = "hunter2-secret"


def raised(error: Exception) -> Exception:
    with suppress(type(error)):
        raise error
    return error


def test_an_unknown_error_is_told_without_its_message():
    failed = backend.failure(raised(ValueError(SECRET)))
    assert str(failed).startswith("ValueError in tests.test_backend:")
    assert failed.document["reference"] in str(failed)
    assert SECRET not in repr(failed)


@pytest.mark.parametrize("error", [JobFailed("No.", code="refused"), PermissionError(SECRET)])
def test_other_processes_get_no_more_than_the_summary(error):
    """Celery passes on the nearest base class that can be pickled."""
    failed = backend.failure(raised(error))
    failed.__cause__ = error
    passed_on = get_pickleable_exception(failed)
    assert type(passed_on) in (WorkFailed, WorkEnded)
    assert str(passed_on) == str(failed)
    assert passed_on.__cause__ is None
    passed_on.error = error
    assert pickle.loads(pickle.dumps(passed_on)).error is None  # noqa: S301 our own


def test_an_end_that_was_wanted_is_no_error_for_the_log():
    failed = backend.failure(raised(JobFailed("No.", code="refused")))
    assert isinstance(failed, tasks.JobTask.throws)
    assert str(failed) == "JobFailed, refused"


@pytest.mark.parametrize("fault", [TypeError, KeyError, ValueError, AttributeError])
def test_a_message_that_celery_cannot_read_is_dropped(monkeypatch, fault):
    def choke(*args, **kwargs):
        raise fault(SECRET)

    monkeypatch.setattr(backend, "default_strategy", lambda *args, **kwargs: choke)
    handle = backend.strategy(add, add.app, consumer=None)
    with pytest.raises(InvalidTaskError) as caught:
        handle("message", None)
    assert SECRET not in str(caught.value)


@pytest.mark.django_db
@pytest.mark.parametrize("faults", [0, 3])
def test_a_claim_waits_for_a_database_that_is_away(monkeypatch, faults):
    pauses, answers = [], [OperationalError("gone")] * faults + ["a job"]

    def claim(self, task_id, began):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    class Connection:
        in_atomic_block = False

        def close(self):
            pass

    monkeypatch.setattr(tasks.JobTask, "_claim", claim)
    monkeypatch.setattr(tasks, "connections", {"default": Connection()})
    monkeypatch.setattr(tasks, "sleep", pauses.append)
    assert add._claim_patiently("id") == "a job"
    assert pauses == list(backend.PAUSES[:faults])


@pytest.mark.django_db(transaction=True)
def test_a_claim_whose_answer_was_lost_is_known_again(monkeypatch):
    """It was committed, and then the connection broke: nobody else will run the job."""
    job = make_job(add)
    claim = Job.claim

    def lose_the_answer(self, *args, **kwargs):
        assert claim(self, *args, **kwargs)
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(Job, "claim", lose_the_answer)
    monkeypatch.setattr(tasks, "sleep", lambda seconds: None)
    held = add._claim_patiently(str(job.pk))
    assert (held.state, held.attempt) == ("running", 1)


@pytest.mark.django_db
def test_another_ones_claim_is_not_ours():
    job = make_job(add)
    began = timezone.now()
    assert job.claim("worker@host", 1, began=began)
    assert add._claim(str(job.pk), began) is None


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["running", "canceling", "succeeded", "failed", "canceled"])
def test_a_message_for_a_job_that_does_not_wait_is_one_query(state, django_assert_num_queries):
    job = make_job(add, state=state)
    with django_assert_num_queries(1):
        assert add._claim_patiently(str(job.pk)) is None


# --- Storing an outcome ---------------------------------------------------------------------------------------------


def failing(errors, only=""):
    """Let statements that hold *only* fail, as long as there are errors."""

    def execute(execute, sql, params, many, context):
        if errors and sql.startswith("UPDATE") and only in sql:
            raise errors.pop(0)
        return execute(sql, params, many, context)

    return connection.execute_wrapper(execute)


@pytest.mark.django_db(transaction=True)
def test_an_outcome_is_kept_until_the_database_takes_it(monkeypatch):
    pauses = []
    monkeypatch.setattr(backend, "sleep", pauses.append)
    job = make_job(add, input={"x": 1, "y": 2})
    away = [OperationalError("gone"), OperationalError("gone")]
    with failing(away, only="finished_at"):
        run_here(job)
    job.refresh_from_db()
    assert (job.state, job.attempt, pauses) == ("succeeded", 1, list(backend.PAUSES[:2]))


@pytest.mark.django_db(transaction=True)
def test_a_last_word_that_the_table_cannot_hold_costs_no_outcome():
    job = make_job(count, input={"to": 2})
    with failing([DataError("character")], only="finished_at"):
        run_here(job)
    job.refresh_from_db()
    assert (job.state, job.progress) == ("succeeded", None)


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_the_table_cannot_hold_ends_the_job():
    """It would be refused again after every repetition of the work."""
    job = make_job(add, input={"x": 1, "y": 2})
    with failing([DataError("character")] * 2, only="finished_at"):
        run_here(job)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.problem["code"]) == ("failed", 1, "result-unencodable")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["before a try", "in a try"])
def test_a_soft_time_limit_does_not_forget_an_outcome(monkeypatch, where):
    """The work is over, and its outcome waits for a database that is away."""
    limit = [SoftTimeLimitExceeded()]

    def expire(seconds=0):
        if limit:
            raise limit.pop()

    job = make_job(add, input={"x": 1, "y": 2})
    monkeypatch.setattr(backend, "sleep", expire if where == "before a try" else lambda seconds: None)
    if where == "in a try":
        succeed = backend.results.succeed
        monkeypatch.setattr(backend.results, "succeed", lambda *a, **k: expire() or succeed(*a, **k))
    with failing([OperationalError("gone")], only="finished_at"):
        run_here(job)
    job.refresh_from_db()
    assert (job.state, job.attempt, limit) == ("succeeded", 1, [])


@pytest.mark.django_db(transaction=True)
def test_an_outcome_that_can_never_be_stored_is_told_and_left_to_the_lease(caplog):
    job = make_job(add, input={"x": 1, "y": 2})
    with failing([DataError("character")] * 5, only="finished_at"):
        run_here(job)
    job.refresh_from_db()
    assert job.state == "running"
    assert f"The outcome of job {job.pk} is not stored: DataError" in caplog.text


# --- The message in the worker's main process ---------------------------------------------------------------------


class Message:
    """As the broker brings it."""

    body, content_type, content_encoding = b"[[], {}, {}]", "application/json", "utf-8"
    payload = ([], {}, {})
    delivery_info, properties = {}, {}

    def __init__(self, job, **headers):
        self.headers = {"id": str(job.pk), "task": add.name, "lang": "py", **headers}


@pytest.fixture
def late(monkeypatch):
    """A project that acknowledges late, and gives back what a lost worker held."""
    monkeypatch.setattr(add, "acks_late", True)
    monkeypatch.setattr(add, "reject_on_worker_lost", True)


@pytest.fixture
def taken(late):
    """Let a child take a message; return the request and what the broker was told."""
    told = []

    def take(job, **headers):
        request = backend.JobRequest(
            Message(job, **headers),
            app=add.app,
            task=add,
            hostname="worker@host",
            on_ack=lambda *args: told.append("ack"),
            on_reject=lambda *args: told.append("reject"),
        )
        request.on_accepted(42, 0.0)
        return request, told

    return take


def death(error):
    try:
        raise error
    except BaseException:
        return ExceptionInfo()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [WorkerLostError("killed"), SystemExit(1)], ids=["killed", "exited"])
def test_a_jobs_message_is_let_go_at_once_and_a_lost_child_reported(taken, error):
    """Whatever the project says of late acknowledgement: the lease knows better."""
    job = make_job(
        add, state="running", worker="worker@host", worker_pid=42, retry_when_lost=True, max_attempts=3
    )
    request, told = taken(job, **{HEADER: 1})
    assert told == ["ack"]
    request.on_failure(death(error))
    backend.wait_for_reports(10)
    job.refresh_from_db()
    assert (job.state, job.history[0]["reason"], told) == ("accepted", "worker: lost", ["ack"])


def test_a_message_without_a_job_is_acknowledged_as_the_project_says(taken):
    request, told = taken(Job())
    assert told == []
    request.on_failure(death(WorkerLostError("killed")))
    assert told == ["reject"]


def test_a_task_is_acknowledged_as_the_project_says():
    """``task_cls`` makes every task a ``JobTask``: what is set for all tasks must hold for them."""
    assert "acks_late" not in vars(tasks.JobTask)
    assert "reject_on_worker_lost" not in vars(tasks.JobTask)


def test_a_retry_stirs_the_relays_of_the_worker(taken, monkeypatch):
    stirred = []
    monkeypatch.setattr(backend, "stir", lambda: stirred.append(1))
    request, _ = taken(Job(), **{HEADER: 1})
    request.on_failure(death(Retry(when=1)))
    assert stirred == [1]
