"""A real worker with the database and the broker of this run."""

import os
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.db import transaction
from django.utils import timezone
from django_celery_results.models import TaskResult

from async_accept.checks.invariants import violations
from async_accept.exceptions import BrokerUnavailable
from async_accept.jobs import publish, results
from async_accept.jobs.accept import accept as accept_job
from async_accept.jobs.broker import Broker, broker
from async_accept.jobs.limits import task_limits
from async_accept.jobs.relay import Relay
from async_accept.models import Job
from async_accept.states import FINAL
from tests.testapp.models import Note

from .conftest import Start
from .tasks import QUEUE, REFUSED, read_stream, refused, take_note

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _healthy_afterwards(transactional_db):
    yield
    assert list(violations()) == []


def accept(**given) -> Job:
    given.setdefault("slug", uuid.uuid4().hex)
    job = Job(operation="notes.take", task=take_note.name, input=given, **task_limits(take_note))
    return accept_job(job)


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, [*Job.objects.values("state", "attempt", "history", "problem")]
        time.sleep(0.05)


def wait_for_end(job: Job, seconds: float = 30) -> Job:
    until(lambda: Job.objects.filter(pk=job.pk, state__in=FINAL).exists(), seconds)
    job.refresh_from_db()
    return job


def make_due(job: Job) -> None:
    """Make the job due, so that the relay publishes it again."""
    Job.objects.filter(pk=job.pk).update(dispatch_at=timezone.now() - timedelta(seconds=1))


def test_job_runs_and_its_result_is_stored(start_worker: Start):
    start_worker()
    job = wait_for_end(accept(slug="happy"))
    assert (job.state, job.attempt, job.queue) == ("succeeded", 1, QUEUE)
    assert TaskResult.objects.get(task_id=str(job.pk)).result == '{"slug":"happy"}'
    assert Note.objects.filter(slug="happy").count() == 1


def test_second_message_does_not_repeat_the_work(start_worker: Start):
    job = accept()
    publish.publish([(job.pk, job.task)] * 3)
    last = accept()
    publish.publish([(job.pk, job.task)])
    start_worker()
    assert wait_for_end(job).attempt == 1
    wait_for_end(last)
    until(lambda: not Broker().depth(QUEUE))
    assert Note.objects.filter(slug=job.input["slug"]).count() == 1


def test_job_accepted_without_a_broker_runs_when_it_is_back(start_worker: Start, monkeypatch):
    broker.close()
    with monkeypatch.context() as patched:
        patched.setattr(current_app.conf, "broker_write_url", _nowhere(current_app.conf.broker_url))
        began = time.monotonic()
        job = accept()
        assert time.monotonic() - began < 1
        assert broker.paused
    broker.pause_until = 0
    make_due(job)
    start_worker()
    assert wait_for_end(job).state == "succeeded"


def test_lost_messages_are_published_again(start_worker: Start):
    """The queue is gone with its messages, and the next publish was planned after a long step."""
    job = accept()
    with current_app.connection_for_write() as connection:
        connection.default_channel.queue_delete(QUEUE)
    broker.close()
    Job.objects.filter(pk=job.pk).update(
        dispatches=5, dispatch_at=timezone.now() + timedelta(seconds=160 - 12)
    )
    start_worker()
    assert wait_for_end(job).state == "succeeded"


def test_rolled_back_request_leaves_no_job(start_worker: Start):
    class Undo(Exception):
        pass

    start_worker()
    with suppress(Undo), transaction.atomic():
        undone = accept()
        raise Undo
    wait_for_end(accept())
    assert not Job.objects.filter(pk=undone.pk).exists()
    assert Note.objects.count() == 1


def test_killed_worker_loses_its_job_to_another(start_worker: Start):
    first = start_worker()
    job = accept(seconds=3)
    until(lambda: Job.objects.filter(pk=job.pk, state="running").exists())
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    start_worker()
    ended = wait_for_end(job)
    assert (ended.state, ended.attempt) == ("succeeded", 2)
    assert Note.objects.filter(slug=job.input["slug"]).count() == 1


def test_killed_child_is_replaced_and_its_job_attempted_again(start_worker: Start):
    start_worker()
    job = accept(seconds=2)
    until(lambda: Job.objects.filter(pk=job.pk, state="running").exists())
    job.refresh_from_db()
    assert job.worker_pid is not None
    os.kill(job.worker_pid, signal.SIGKILL)
    until(lambda: Job.objects.get(pk=job.pk).history, seconds=3)
    ended = wait_for_end(job)
    assert (ended.state, ended.attempt) == ("succeeded", 2)


def test_async_loop_shows_its_progress_and_is_canceled(start_worker: Start):
    start_worker()
    job = accept_job(Job(operation="read", task=read_stream.name, input={"count": 4000}))
    until(lambda: (Job.objects.get(pk=job.pk).progress or {}).get("current"))
    job.cancel()
    ended = wait_for_end(job)
    assert (ended.state, ended.progress["stage"], ended.progress["total"]) == ("canceled", "Reading", 4000)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"id": "00000000-0000-7000-8000-000000000000"}, id="unknown"),
        pytest.param({"id": "../../etc/passwd"}, id="no-id"),
        pytest.param({"id": "x" * 250}, id="long-id"),
    ],
)
def test_forged_message_is_dropped(start_worker: Start, message):
    current_app.send_task(take_note.name, task_id=message["id"], headers={publish.HEADER: 1}, queue=QUEUE)
    start_worker()
    assert wait_for_end(accept()).state == "succeeded"
    assert (Job.objects.count(), Note.objects.count(), TaskResult.objects.count()) == (1, 1, 1)


def test_message_for_another_task_is_dropped(start_worker: Start):
    job = Job.objects.create(
        operation="notes.take",
        task="tests.testapp.tasks.add",
        input={"x": 1, "y": 2},
        dispatch_at=timezone.now() + timedelta(hours=1),
    )
    publish.publish([(job.pk, take_note.name)])
    start_worker()
    assert wait_for_end(accept()).state == "succeeded"
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("accepted", 0)


@pytest.mark.parametrize(
    "body",
    [b"\x80\x04K\x01.", b"{" * 200_000, b"null", b"7", b"[[1], {}, {}]"],
    ids=["pickle", "huge", "null", "number", "arguments"],
)
def test_unreadable_message_stops_no_worker(start_worker: Start, body: bytes):
    accepted = accept()
    with current_app.connection_for_write() as connection:
        connection.Producer().publish(
            body,
            routing_key=QUEUE,
            content_type="application/json",
            content_encoding="utf-8",
            headers={"task": take_note.name, "id": str(accepted.pk), "lang": "py", publish.HEADER: 1},
        )
    start_worker()
    assert wait_for_end(accepted).state == "succeeded"
    assert wait_for_end(accept()).state == "succeeded"


def test_worker_that_does_not_know_the_task_spoils_nothing(start_worker: Start, tmp_path: Path):
    """Old and new workers run at the same time while a new version is deployed."""
    new = start_worker()
    done = wait_for_end(accept())
    result = results.read(done)
    os.killpg(new.pid, signal.SIGKILL)
    new.wait()
    old = start_worker(old=True)
    waiting = accept()
    publish.publish([(done.pk, take_note.name)])  # a second message for the job
    log = tmp_path / "workers.log"
    until(lambda: log.read_text().count("does not know the task") >= 2)
    assert results.read(done) == result
    assert not TaskResult.objects.filter(task_id=str(waiting.pk)).exists()
    os.killpg(old.pid, signal.SIGTERM)
    start_worker()
    make_due(waiting)
    assert wait_for_end(waiting).state == "succeeded"


@pytest.mark.rabbitmq
def test_message_that_the_broker_refuses_delays_no_other(start_worker: Start, caplog):
    """Its queue exists with other arguments. AMQP then closes the channel. The relay publishes this message first."""
    with current_app.connection_for_write() as connection:
        connection.default_channel.queue_declare(REFUSED, durable=False, auto_delete=False)
        try:
            bad = accept_job(Job(operation="refused", task=refused.name, input={}))
            assert f"Job {bad.pk} cannot be published for {refused.name}: PreconditionFailed" in caplog.text
            good = [accept() for _ in range(3)]
            assert not broker.paused
            make_due(bad)
            for job in good:
                make_due(job)
            relay = Relay()
            assert relay.tick()["published"] == 4
            assert not relay.broker.paused
            start_worker()
            for job in good:
                assert wait_for_end(job).state == "succeeded"
        finally:
            connection.default_channel.queue_delete(REFUSED)
            relay.broker.close()


def test_large_message_for_nobody_is_dropped(start_worker: Start):
    """A valid message, but with megabytes of arguments. The message of a job has none."""
    current_app.send_task(
        take_note.name,
        args=["x" * 4_000_000],
        task_id=str(uuid.uuid4()),
        headers={publish.HEADER: 1},
        queue=QUEUE,
    )
    start_worker()
    assert wait_for_end(accept()).state == "succeeded"
    assert (Job.objects.count(), TaskResult.objects.count()) == (1, 1)


def test_bug_is_found_in_the_log_of_the_worker(start_worker: Start, tmp_path: Path):
    """Once, with the line that raised, and without the frames of Celery and of this package."""
    start_worker()
    job = wait_for_end(accept(seconds="no number"))
    log = tmp_path / "workers.log"
    until(lambda: job.problem["reference"] in log.read_text())
    _, _, told = log.read_text().partition(
        "raised unexpected: WorkFailed('TypeError in tests.integration.tasks:"
    )
    shown, _, _ = told.partition("async_accept.exceptions.WorkFailed: TypeError in tests.integration.tasks:")
    assert "end = time.monotonic() + seconds" in shown
    assert shown.count("  File ") == 1
    assert log.read_text().count("Traceback") == 1
    assert "unsupported operand" not in log.read_text()


def test_password_of_the_broker_is_not_shown(start_worker: Start, tmp_path: Path, caplog, monkeypatch):
    """Neither in a log nor in the row of a job that could not be published."""
    secret = "hunter2-secret"
    nowhere = _nowhere(current_app.conf.broker_url).replace("://", f"://user:{secret}@")
    with monkeypatch.context() as patch:
        patch.setattr(current_app.conf, "broker_write_url", nowhere, raising=False)
        broker.close()
        job = accept()
        with pytest.raises(BrokerUnavailable) as caught:
            Broker(0.2).check()
    broker._reset()
    assert secret not in f"{caught.value!r} {caplog.text} {Job.objects.filter(pk=job.pk).values().get()}"
    start_worker()
    make_due(job)
    assert wait_for_end(job).state == "succeeded"
    assert secret not in (tmp_path / "workers.log").read_text()


def _nowhere(url: str) -> str:
    """Return the broker's URL with a port at which nothing listens."""
    kind = url.split(":", 1)[0]
    return f"{kind}://127.0.0.1:9/"
