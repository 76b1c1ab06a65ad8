"""``JobTask``: it claims a job, does the work, and ends the attempt once, whatever Celery reports."""

import signal
from datetime import timedelta
from io import BytesIO
from types import SimpleNamespace

import pytest
from celery import shared_task
from celery.exceptions import Ignore, Reject, Retry, WorkerShutdown, WorkerTerminate
from django.db import OperationalError, connection, transaction
from django.http import FileResponse
from django.test import override_settings
from django.utils import timezone
from django_celery_results.models import TaskResult
from rest_framework.response import Response

from async_accept import progress
from async_accept.exceptions import JobCanceled, JobFailed
from async_accept.jobs import results
from async_accept.jobs.accept import accept
from async_accept.jobs.attempt import current_attempt
from async_accept.jobs.limits import task_limits
from async_accept.jobs.publish import HEADER, run_here
from async_accept.models import Job, new_id
from async_accept.tasks import JobTask, atomic_from_here
from async_accept.testing import make_job, run_accepted_jobs
from async_accept.worker.finish import leave
from async_accept.worker.heartbeat import heartbeat
from tests.testapp import tasks
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db

AGO = timedelta(hours=1)


@shared_task(base=JobTask)
def call(name):
    """Do what a test has put into ``deeds``."""
    return deeds[name]()


@shared_task(base=JobTask, autoretry_for=(Exception,), max_retries=3)
def call_again_and_again(name):
    return deeds[name]()


@shared_task(base=JobTask, atomic=True)
def call_atomic(name):
    return deeds[name]()


@shared_task(base=JobTask, atomic=True, retry_when_lost=True, max_attempts=3)
def call_sound(name):
    return deeds[name]()


deeds = {}


def do(deed, task=call):
    """Run one attempt of a job that does *deed*; return the job as it is then."""
    deeds["deed"] = deed
    job = make_job(task, input={"name": "deed"})
    return attempt(job)


def attempt(job):
    run_here(job)
    job.refresh_from_db()
    return job


def publish_again(job):
    """Let the relay publish a job that was given back."""
    Job.objects.filter(pk=job.pk).update(dispatches=1)


def throw(error):
    raise error


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    yield
    assert current_attempt() is None
    assert not heartbeat.attempts


# --- Ends ------------------------------------------------------------------------------------------------


def test_what_a_task_returns_is_the_result():
    job = do(lambda: {"sum": 3})
    assert (job.state, job.response, results.read(job)) == (
        "succeeded",
        {"status": 200, "headers": {}, "content_type": "application/json", "kept": "json"},
        '{"sum":3}',
    )


def test_a_response_keeps_its_status_and_headers():
    job = do(lambda: Response({"id": 7}, status=201, headers={"Location": "/things/7/"}))
    assert (job.response["status"], job.response["headers"]) == (201, {"Location": "/things/7/"})


class Temporary(FileResponse):
    """Deletes its file when it is closed; here, it leaves a note."""

    def close(self):
        super().close()
        Note.objects.create(slug="closed", title=Job.objects.get().state)


@pytest.mark.parametrize(("task", "state"), [(call, "running"), (call_atomic, "succeeded")])
@pytest.mark.parametrize("status", [200, 422])
def test_a_response_is_closed_when_it_is_kept(task, state, status):
    file = BytesIO(b"abc")
    job = do(lambda: Temporary(file, status=status), task)
    is_kept = status == 200
    assert job.state == ("succeeded" if is_kept else "failed")
    assert file.closed
    assert Note.objects.get(slug="closed").title == (state if is_kept else "running")


def test_a_task_gets_the_input_as_keyword_arguments():
    assert results.read(attempt(make_job(tasks.add, input={"x": 1, "y": 2}))) == "3"


def test_an_unknown_exception_fails_the_job_without_its_message():
    job = do(lambda: throw(RuntimeError("hunter2")))
    assert (job.state, job.problem["code"]) == ("failed", "failed")
    assert "hunter2" not in str(job.problem)


def test_the_log_names_the_reference_and_not_the_message(caplog):
    secret = "".join(["hun", "ter", "2"])  # not in the source line that the traceback shows
    job = do(lambda: throw(RuntimeError(secret)))
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert job.problem["reference"] in record.message
    assert record.job_id == str(job.pk)
    assert secret not in caplog.text


def test_the_traceback_is_kept_with_the_result_and_the_message_is_not():
    job = do(lambda: throw(RuntimeError("hunter2")))
    row = TaskResult.objects.get(task_id=str(job.pk))
    assert row.status == "FAILURE"
    assert "RuntimeError" in row.traceback
    assert "hunter2" not in row.result


def test_an_exception_that_cannot_be_pickled_is_told_as_what_it_is():
    class Local(Exception):
        def __init__(self, one, two):
            super().__init__("hunter2", lambda: None)

    job = do(lambda: throw(Local(1, 2)))
    assert job.problem["code"] == "failed"
    assert '"exc_type":"' in TaskResult.objects.get(task_id=str(job.pk)).result
    assert "Local" in TaskResult.objects.get(task_id=str(job.pk)).result


def test_job_failed_that_is_not_to_be_pickled_keeps_its_words():
    job = do(lambda: throw(JobFailed("No.", code="refused", status=422, extra={"items": [1]})))
    assert (job.state, job.problem["status"], job.problem["items"]) == ("failed", 422, [1])


def test_a_job_that_stops_at_its_checkpoint_is_canceled():
    job = do(lambda: throw(JobCanceled("stop")))
    assert (job.state, job.problem["code"]) == ("canceled", "canceled")


@pytest.mark.parametrize("value", [object(), float("nan"), "a\0b"])
def test_a_result_that_has_no_json_form_fails_the_job(value):
    assert do(lambda: value).problem["code"] == "result-unencodable"


@override_settings(ASYNC_ACCEPT={"MAX_RESULT_BYTES": 10})
def test_a_result_that_is_too_large_fails_the_job():
    assert do(lambda: "x" * 10).problem["code"] == "result-too-large"


@pytest.mark.parametrize("error", [Ignore(), Reject()], ids=["Ignore", "Reject"])
def test_a_job_cannot_end_by_having_its_message_forgotten(error):
    job = do(lambda: throw(error))
    assert (job.state, job.problem["code"]) == ("failed", "failed")


@pytest.mark.parametrize(
    "error",
    [WorkerShutdown(0), WorkerTerminate(1), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
def test_a_process_that_is_told_to_exit_leaves_the_job_to_its_lease(error, monkeypatch):
    # A run in the background ignores SIGINT; a worker does not.
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.default_int_handler)
    deeds["deed"] = lambda: throw(error)
    job = make_job(call, input={"name": "deed"})
    with pytest.raises(type(error)):
        run_here(job)
    leave(current_attempt())
    job.refresh_from_db()
    assert job.state == "running"


def test_the_last_progress_is_stored_with_the_end():
    job = do(lambda: progress.report(3, 4, "three"))
    assert (job.progress["current"], job.progress["message"]) == (3, "three")


def test_a_failure_that_carries_what_cannot_be_stored_still_ends_the_job():
    job = do(lambda: throw(JobFailed("a\0b", extra={"x": object()})))
    assert (job.state, job.problem["detail"]) == ("failed", "ab")


# --- Claims ------------------------------------------------------------------------------------------------


def test_a_repeated_message_runs_nothing():
    done = []
    job = do(lambda: done.append(1))
    attempt(job)
    assert done == [1]


def test_a_message_for_a_canceled_job_runs_nothing():
    job = make_job(tasks.crash)
    job.cancel()
    assert attempt(job).state == "canceled"


@pytest.mark.parametrize("task_id", ["01890000-0000-7000-8000-000000000000", "not-an-id", "", "x" * 300])
def test_a_forged_message_is_dropped_quietly(task_id, caplog):
    forged = tasks.write_note.apply(
        task_id=task_id or None, kwargs={"slug": "forged"}, headers={HEADER: 1}, throw=False
    )
    assert forged.state == "IGNORED"
    assert not Note.objects.exists()
    assert not caplog.records


@pytest.mark.parametrize("spelling", [str.upper, lambda pk: pk.replace("-", ""), "urn:uuid:{}".format])
def test_a_forged_message_that_spells_the_id_in_another_way_is_dropped(spelling):
    """It would claim the job, and its end would belong to no attempt."""
    job = make_job(tasks.echo)
    forged = tasks.echo.apply(task_id=spelling(str(job.pk)), headers={HEADER: 1}, throw=False)
    job.refresh_from_db()
    assert (forged.state, job.state) == ("IGNORED", "accepted")


def test_a_message_for_another_task_is_dropped():
    job = make_job(tasks.add, input={"x": 1, "y": 2})
    tasks.echo.apply(task_id=str(job.pk), headers={HEADER: 1}, throw=False)
    job.refresh_from_db()
    assert job.state == "accepted"


def test_arguments_in_a_message_are_not_used():
    job = make_job(tasks.echo, input={"x": 1})
    tasks.echo.apply(task_id=str(job.pk), kwargs={"x": "forged"}, headers={HEADER: 1}, throw=False)
    assert results.read(job) == '{"x":1}'


def test_the_attempt_knows_who_runs_it(settings):
    seen = []
    job = do(lambda: seen.append(progress.current_job()))
    (current,) = seen
    assert (current.pk, current.attempt) == (job.pk, 1)
    assert job.worker_pid


def statements_of_an_attempt():
    """Claim; at the end, store the final state and the result. BEGIN and COMMIT are the test's."""
    return {"postgresql": 2, "sqlite": 3}.get(connection.vendor, 4)


def test_an_attempt_costs_few_statements(django_assert_num_queries):
    job = make_job(tasks.add, input={"x": 1, "y": 2})
    with django_assert_num_queries(statements_of_an_attempt()):
        run_here(job)


def test_a_failed_attempt_costs_few_statements(django_assert_num_queries):
    job = make_job(tasks.crash)
    with django_assert_num_queries(statements_of_an_attempt()):
        run_here(job)


# --- Retries -------------------------------------------------------------------------------------------------


def test_a_retry_waits_in_the_row():
    job = attempt(make_job(tasks.flaky, input={"failures": 1}))
    assert (job.state, job.attempt, job.lease_until) == ("accepted", 1, None)
    assert timedelta(seconds=50) < job.dispatch_at - timezone.now() < timedelta(seconds=70)
    assert job.history[0]["reason"].startswith("retry")


def test_a_retry_is_not_claimed_before_its_time():
    job = attempt(make_job(tasks.flaky, input={"failures": 1}))
    assert attempt(job).attempt == 1  # a message that was repeated


def test_a_retry_is_claimed_when_the_relay_has_published_it():
    job = attempt(make_job(tasks.flaky, input={"failures": 1}))
    publish_again(job)
    assert attempt(job).state == "succeeded"
    assert results.read(job) == "1"  # self.request.retries


def test_the_task_has_as_many_retries_as_it_says():
    (job,) = [job for job in [make_job(tasks.flaky, input={"failures": 3})] if run_accepted_jobs(pk=job.pk)]
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("succeeded", 4)


def test_a_task_without_a_retry_left_fails():
    job = make_job(tasks.flaky, input={"failures": 4})
    run_accepted_jobs(raises=False)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.problem["code"]) == ("failed", 4, "failed")


def test_autoretry_gives_the_job_back_and_ends_with_the_cause():
    job = make_job(tasks.autoretry)
    run_accepted_jobs(raises=False)
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("failed", 3)
    assert [past["reason"] for past in job.history] == ["retry: ValueError"] * 2
    assert '"exc_type":"ValueError"' in TaskResult.objects.get(task_id=str(job.pk)).result


def test_retry_raised_by_hand_waits_in_the_row():
    job = attempt(make_job(tasks.retry_by_hand))
    assert job.state == "accepted"
    assert job.dispatch_at > timezone.now() + timedelta(seconds=20)


def test_retry_raised_by_hand_at_a_date_waits_until_then():
    when = timezone.now() + timedelta(hours=1)
    deeds["deed"] = lambda: throw(Retry(when=when))
    job = attempt(make_job(call, input={"name": "deed"}))
    assert abs(job.dispatch_at - when) < timedelta(seconds=10)


def test_retry_raised_by_hand_ends_with_the_last_attempt():
    job = make_job(tasks.retry_by_hand, max_attempts=2)
    run_accepted_jobs(raises=False)
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("failed", 2)


def test_attempts_that_were_lost_are_no_retries():
    """A task with two retries that lost two workers before still has both."""
    job = make_job(tasks.flaky, input={"failures": 2}, retry_when_lost=True)
    for _ in range(2):
        assert job.claim("worker@host", 42)
        assert job.lose("lease")
        job.refresh_from_db()
    run_accepted_jobs(pk=job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.retries) == ("succeeded", 5, 2)


@pytest.mark.parametrize(("own", "attempts"), [(None, 9), (4, 4)])
def test_a_retry_may_say_how_many_there_are(monkeypatch, own, attempts):
    """As in Celery; a limit of the task's own for all attempts still holds."""
    monkeypatch.setattr(call, "max_attempts", own)
    deeds["deed"] = lambda: call.retry(max_retries=8, exc=ValueError())
    job = make_job(call, input={"name": "deed"})
    run_accepted_jobs(raises=False)
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("failed", attempts)


def test_max_attempts_bounds_retries():
    job = make_job(tasks.flaky, input={"failures": 9}, max_attempts=2)
    run_accepted_jobs(raises=False)
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("failed", 2)


@pytest.mark.parametrize(
    ("error", "state"), [(JobCanceled("stop"), "canceled"), (JobFailed("No."), "failed")]
)
def test_autoretry_for_every_exception_does_not_mean_the_end_of_a_job(error, state):
    job = do(lambda: throw(error), call_again_and_again)
    assert (job.state, job.attempt) == (state, 1)


def test_a_job_that_is_asked_to_stop_does_not_retry():
    def cancel_and_break():
        progress.current_job().__class__.objects.get().cancel()
        raise ValueError

    job = do(cancel_and_break, call_again_and_again)
    assert job.state == "canceled"


def test_a_retry_with_other_arguments_is_an_error():
    @shared_task(base=JobTask, bind=True, name="tests.retry_with_others")
    def retry_with_others(self):
        self.retry(kwargs={"x": 2})

    job = attempt(make_job(retry_with_others))
    assert job.state == "failed"


def test_limits_come_from_the_task():
    assert task_limits(tasks.add) == {"max_attempts": 5, "retry_when_lost": False}
    assert task_limits(call_sound) == {"max_attempts": 3, "retry_when_lost": True}
    assert task_limits(SimpleNamespace(max_retries=9))["max_attempts"] == 10
    assert task_limits(SimpleNamespace(max_retries=None))["max_attempts"] == 30_000


# --- Atomic ----------------------------------------------------------------------------------------------------


def test_effect_and_end_commit_together():
    job = attempt(make_job(tasks.write_note, input={"slug": "a"}))
    assert job.state == "succeeded"
    assert Note.objects.filter(slug="a").exists()


@pytest.mark.parametrize("then", ["crash", "unencodable"])
def test_effect_and_result_roll_back_together(then):
    job = attempt(make_job(tasks.write_note, input={"slug": "a", "then": then}))
    assert job.state == "failed"
    assert not Note.objects.exists()


def test_the_effect_of_an_attempt_that_was_taken_is_rolled_back():
    def work():
        Note.objects.create(slug="lost", title="lost")
        job = Job.objects.get()
        job.lose("lease")
        publish_again(job)
        job.refresh_from_db()
        assert job.claim("another worker")
        lost.append(current_attempt())
        return "too late"

    lost = []
    # The other worker's transactions are its own; here they are inside this one, and roll back with it.
    job = do(work, call_sound)
    assert not Note.objects.exists()
    assert not TaskResult.objects.exists()
    assert job.state == "running"
    assert lost[0].ended


def test_an_attempt_that_is_not_atomic_and_was_taken_stores_nothing():
    def work():
        job = Job.objects.get()
        job.lose("lease")
        return "too late"

    job = do(work)
    assert (job.state, job.problem["code"]) == ("failed", "lost")
    assert not TaskResult.objects.exists()


def test_a_success_in_time_beats_the_cancel():
    def work():
        Job.objects.get().cancel()
        return "done"

    assert do(work).state == "succeeded"


def test_a_fault_of_the_database_is_no_fault_of_sound_work():
    job = do(lambda: throw(OperationalError("gone")), call_sound)
    assert job.state == "accepted"
    assert job.history[0]["reason"] == "database: OperationalError"


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("40001", "accepted"),  # made way for another transaction
        ("55P03", "accepted"),  # a lock that another holds
        ("54000", "failed"),  # text that no index takes
        ("57014", "failed"),  # a statement that takes too long
    ],
)
def test_bad_data_and_slow_statements_are_faults_of_the_work(code, state):
    fault = OperationalError("failed")
    fault.__cause__ = type("Driver", (Exception,), {"sqlstate": code})()
    job = do(lambda: throw(fault), call_sound)
    assert (job.state, job.attempt) == (state, 1)


def test_a_fault_of_the_database_fails_work_that_may_not_be_repeated():
    assert do(lambda: throw(OperationalError("gone")), call_atomic).state == "failed"


# --- A transaction at the end --------------------------------------------------------------------------------------


def write(slug="late"):
    Note.objects.create(slug=slug, title=slug)


def test_from_here_on_work_and_end_are_one_transaction():
    def work():
        write("early")
        atomic_from_here()
        atomic_from_here()  # a second time it does nothing
        write()
        return "done"

    assert do(work).state == "succeeded"
    assert Note.objects.count() == 2


@pytest.mark.parametrize("end", [lambda: throw(ValueError()), object, lambda: throw(Retry(when=1))])
def test_what_came_before_stays_and_what_came_after_goes(end):
    def work():
        write("early")
        atomic_from_here()
        write()
        return end()

    assert do(work).state in ("failed", "accepted")
    assert Note.objects.get().slug == "early"


def test_an_attempt_that_was_taken_commits_nothing_from_there_on():
    def work():
        Job.objects.get().lose("lease")
        atomic_from_here()
        write()

    assert do(work).problem["code"] == "lost"
    assert not Note.objects.exists()


def test_it_cannot_begin_inside_a_transaction_that_ends_before():
    def work():
        with transaction.atomic():
            atomic_from_here()

    deeds["deed"] = work
    make_job(call, input={"name": "deed"})
    with pytest.raises(RuntimeError, match="inside another transaction"):
        run_accepted_jobs()


def test_outside_a_job_it_does_nothing():
    atomic_from_here()
    assert not connection.needs_rollback


# --- Without a job ---------------------------------------------------------------------------------------------


def test_called_directly_a_job_task_is_a_function():
    assert tasks.add(1, 2) == 3


def test_applied_without_a_job_it_is_an_ordinary_task():
    assert tasks.add.apply(args=(1, 2)).get() == 3
    assert not Job.objects.exists()


def test_an_ordinary_result_goes_to_the_projects_own_backend(eager):
    eager.task_store_eager_result = True
    promise = tasks.add.delay(1, 2)
    assert promise.get() == 3
    row = TaskResult.objects.get(task_id=promise.id)
    assert (row.status, row.result) == ("SUCCESS", "3")
    assert tasks.add.AsyncResult(promise.id).get() == 3


def test_an_ordinary_failure_is_reported_as_ever(eager):
    promise = tasks.crash.delay("visible")
    assert promise.state == "FAILURE"
    with pytest.raises(RuntimeError, match="visible"):
        promise.get()


def test_a_job_inside_another_ones_task_is_a_call():
    job = do(lambda: tasks.add(1, 2) + tasks.add.apply(args=(3, 4)).get())
    assert results.read(job) == "10"


@pytest.mark.parametrize(
    ("task", "values", "state"),
    [
        (tasks.add, {"x": 1, "y": 2}, "succeeded"),
        (tasks.crash, {}, "failed"),
        (tasks.write_note, {"slug": "a"}, "succeeded"),
        (tasks.write_note, {"slug": "a", "then": "crash"}, "failed"),
    ],
    ids=["succeeds", "fails", "atomic succeeds", "atomic fails"],
)
def test_a_job_that_accepts_another_one_goes_on_after_it(
    eager, django_capture_on_commit_callbacks, task, values, state
):
    """In eager mode the inner one runs inside of the outer one."""

    def work():
        with django_capture_on_commit_callbacks(execute=True):
            inner = accept(Job(id=new_id(), operation="inner", task=task.name, input=values))
        inner.refresh_from_db()
        return [inner.state, progress.current_job() == Job.objects.get(operation="call")]

    job = do(work)
    assert (job.state, results.read(job)) == ("succeeded", f'["{state}",true]')


def test_update_state_is_progress():
    def work():
        call.update_state(task_id=call.request.id, state="PROGRESS", meta={"current": 1, "total": 4})
        return current_attempt().progress.snapshot()

    job = do(work)
    assert job.progress["percent"] == 25.0


def test_transactions_of_the_work_are_its_own():
    def work():
        with transaction.atomic():
            Note.objects.create(slug="kept", title="kept")
        raise RuntimeError

    assert do(work).state == "failed"
    assert Note.objects.filter(slug="kept").exists()
