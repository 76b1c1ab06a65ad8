"""A job's message in the worker's main process."""

import os

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.exceptions import InvalidTaskError, Retry
from celery.worker import state as worker_state

from async_accept import tasks
from async_accept.jobs.publish import HEADER
from async_accept.models import Job
from async_accept.testing import make_job
from async_accept.worker import message as messages
from async_accept.worker.parent import wait_for_reports
from tests.testapp.tasks import add

SECRET = "hunter2-secret"


@pytest.mark.parametrize("fault", [TypeError, KeyError, ValueError, AttributeError])
def test_a_message_that_celery_cannot_read_is_dropped(monkeypatch, fault):
    def choke(*args, **kwargs):
        raise fault(SECRET)

    monkeypatch.setattr(messages, "default_strategy", lambda *args, **kwargs: choke)
    handle = messages.strategy(add, add.app, consumer=None)
    with pytest.raises(InvalidTaskError) as caught:
        handle("message", None)
    assert SECRET not in str(caught.value)


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
        request = messages.JobRequest(
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


@pytest.mark.django_db
@pytest.mark.parametrize("pool", ["default", "gevent", "eventlet"])
def test_the_process_of_an_attempt_is_known_in_greenlets_too(taken, monkeypatch, pool):
    """They tell the number of a greenlet, by which no hard time limit would find the attempt."""
    monkeypatch.setattr(messages, "detect_environment", lambda: pool)
    request, _ = taken(make_job(add))
    worker_state.task_ready(request)
    assert request.request_dict["worker_pid"] == (42 if pool == "default" else os.getpid())


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
    wait_for_reports(10)
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


def test_a_retry_wakes_the_relays_of_the_worker(taken, monkeypatch):
    woken = []
    monkeypatch.setattr(messages, "wake", lambda: woken.append(1))
    request, _ = taken(Job(), **{HEADER: 1})
    request.on_failure(death(Retry(when=1)))
    assert woken == [1]
