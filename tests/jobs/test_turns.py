"""Events of one object run one at a time and in order, and none of them blocks the others for ever."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_accept.db import errors
from async_accept.db.compiled import insert
from async_accept.jobs import due, turns
from async_accept.jobs.accept import accept, rerun
from async_accept.jobs.broker import Broker
from async_accept.models import Job, new_id
from async_accept.tasks import probe
from async_accept.testing import make_job, run_accepted_jobs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("published")]


def accepted(key="one", **columns):
    job = Job(id=new_id(), operation="ordered", task=probe.name, order_key=key, **columns)
    return accept(job)


def message(job):
    """Let a worker get a message for *job*; return whether it holds the job then."""
    probe.request_stack.push(type("Request", (), {"delivery_info": None, "hostname": "test"})())
    try:
        return probe._claim(str(job.pk)) is not None
    finally:
        probe.request_stack.pop()


def end(job, how="succeed"):
    job.refresh_from_db()
    return {
        "succeed": lambda: job.succeed({"status": 200, "headers": {}}),
        "fail": lambda: job.fail({"code": "failed"}),
        "cancel": lambda: job.cancel() and (job.is_final or job.end_canceled()),
        "lose": lambda: job.lose("lease"),
    }[how]()


@pytest.mark.parametrize("how", ["succeed", "fail", "cancel", "lose"])
def test_next_one_is_published_when_the_one_before_ends(published, how):
    first, second, third, other = accepted(), accepted(), accepted(), accepted("other")
    assert published == [first.pk, other.pk]
    assert message(first)
    assert not message(second)
    assert end(first, how)
    assert published == [first.pk, other.pk, second.pk]
    assert not message(third)
    assert message(second)
    end(second, how)
    assert published[3:] == [third.pk]
    assert message(third)


def test_canceled_one_is_passed_over(published):
    first, second, third = accepted(), accepted(), accepted()
    second.cancel()
    message(first)
    end(first)
    assert published == [first.pk, third.pk]


@pytest.mark.parametrize("by", ["the end", "a claim"])
def test_turn_outlives_a_conflict(published, monkeypatch, by):
    """Nobody else would call the next job for minutes."""
    first, second = accepted(), accepted()
    message(first)
    conflicts = [OperationalError("deadlock")]

    def execute(execute, sql, params, many, context):
        if conflicts and sql.startswith("UPDATE") and "active_key" in sql.partition(" WHERE ")[0]:
            raise conflicts.pop()
        return execute(sql, params, many, context)

    monkeypatch.setattr(errors, "is_conflict", lambda error: isinstance(error, OperationalError))
    if by == "the end":
        monkeypatch.setattr(turns, "_promote", under(execute, turns._promote))
        end(first)
        assert published == [first.pk, second.pk]
    else:
        Job.objects.filter(pk=first.pk).delete()
        with connection.execute_wrapper(execute):
            assert message(second)
    assert conflicts == []


def under(wrapper, do):
    def wrapped(*args):
        with connection.execute_wrapper(wrapper):
            return do(*args)

    return wrapped


def test_retry_keeps_the_turn(published):
    first, second = accepted(max_attempts=2), accepted()
    message(first)
    first.refresh_from_db()
    first.give_back(timedelta(hours=1), "retry")
    assert not message(second)
    assert published == [first.pk]


def test_waiting_job_is_no_work_for_the_relay_until_it_looks_again(published):
    first, second = accepted(), accepted()
    message(first)
    broker = Broker()
    assert due.publish_due(broker) == 0
    second.refresh_from_db()
    assert second.dispatch_at > timezone.now() + turns.LOOK_AGAIN / 2
    Job.objects.filter(pk=second.pk).update(dispatch_at=timezone.now() - timedelta(seconds=1))
    assert due.publish_due(broker) == 1
    assert not message(second)
    second.refresh_from_db()
    assert second.dispatch_at > timezone.now() + turns.LOOK_AGAIN / 2
    assert (second.dispatches, second.attempt) == (0, 0)


def test_missed_call_is_made_up_by_any_that_waits(published):
    """The process that ended the first one died before it called the next."""
    first, second, third = accepted(), accepted(), accepted()
    Job.objects.filter(pk=first.pk).delete()
    del published[:]
    assert not message(third)
    assert published == [second.pk]
    assert message(second)


def test_turn_that_ends_while_another_lines_up_is_not_missed(published, monkeypatch):
    """The second one has seen the first, which ends before the second is stored."""
    first = accepted()
    message(first)

    def end_first(job, using):
        monkeypatch.undo()
        end(first)
        insert(job, using)

    monkeypatch.setattr("async_accept.jobs.accept.insert", end_first)
    second = accepted()
    second.refresh_from_db()
    assert second.active_key == "one"
    assert message(second)


def test_two_that_see_nobody_before_them(monkeypatch, published):
    first = accepted()
    monkeypatch.setattr(turns, "line_up", lambda job: setattr(job, "active_key", job.order_key))
    second = accepted()
    assert second.pk != first.pk
    assert published == [first.pk]
    second.refresh_from_db()
    assert second.active_key is None


def test_rerun_waits_for_its_turn(published):
    first = accepted(input={})
    message(first)
    end(first, "fail")
    second = accepted(input={})
    first.refresh_from_db()
    again = rerun(first)
    assert published == [first.pk, second.pk]
    message(second)
    end(second)
    assert published == [first.pk, second.pk, again.pk]


def test_helpers_of_tests_run_them_in_order():
    jobs = [accepted() for _ in range(5)]
    assert run_accepted_jobs() == jobs
    ran = list(Job.objects.order_by("started_at"))
    assert ran == jobs
    assert {job.state for job in ran} == {"succeeded"}


def test_eager_mode_runs_them(eager):
    jobs = [accepted() for _ in range(3)]
    assert set(Job.objects.values_list("pk", "state")) == {(job.pk, "succeeded") for job in jobs}


def test_job_without_order_costs_nothing_more():
    job = make_job(probe)
    with CaptureQueriesContext(connection) as queries:
        assert message(job)
        end(job)
    at_once = connection.vendor in ("postgresql", "sqlite")
    assert len(queries) == (3 if at_once else 4), queries.captured_queries  # read and claim; read, end


def test_index_finds_the_next(published):
    first, second = accepted(), accepted()
    message(first)
    with CaptureQueriesContext(connection) as queries:
        end(first)
    statements = [query["sql"] for query in queries if not query["sql"].startswith(("BEGIN", "COMMIT"))]
    assert len(statements) == 4, statements  # read, end; look, give the turn
    assert published[-1] == second.pk
