"""A job whose process is gone is one record of level ERROR."""

import logging

import pytest
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker import state
from celery.worker.request import Request

from async_accept.worker import deaths
from async_accept.worker.deaths import reporting, will_be_killed
from async_accept.worker.message import JobRequest

PID = 4321


class Message:
    """A message in the worker's main process."""

    id = "an-id"

    def __init__(self, is_jobs, pid=PID):
        self.is_jobs, self.worker_pid = is_jobs, pid


@pytest.fixture
def active(monkeypatch):
    requests = set()
    monkeypatch.setattr(state, "active_requests", requests)
    monkeypatch.setattr(deaths, "_killed", deaths.deque(maxlen=100))
    return requests


def exited(caplog, pid=PID):
    """Log the end of a process as the pool does; return the level of the record."""
    logging.getLogger("multiprocessing").error(
        "Process %r pid:%r exited with %r", "ForkPoolWorker-1", pid, "signal 9 (SIGKILL)"
    )
    return caplog.records[-1].levelname


def test_a_process_that_ran_a_job_is_told_by_the_end_of_its_job(active, caplog):
    active.add(Message(True))
    assert exited(caplog) == "WARNING"


@pytest.mark.parametrize(
    "message", [None, Message(False), Message(True, pid=1)], ids=["idle", "other", "elsewhere"]
)
def test_the_end_of_any_other_process_is_an_error(active, caplog, message):
    active.update([message] if message else [])
    assert exited(caplog) == "ERROR"


def test_a_process_that_celery_kills_is_no_news(active, caplog):
    will_be_killed(PID)
    will_be_killed(None)
    assert exited(caplog) == "WARNING"


@pytest.mark.parametrize(
    ("error", "level"),
    [(WorkerLostError("gone"), "ERROR"), (TimeLimitExceeded(2), "WARNING")],
    ids=["lost", "time"],
)
def test_the_end_of_a_job_has_its_id(caplog, error, level):
    """The time limit has another record, with the name of the task."""
    logger = logging.getLogger("celery.worker.request")
    with reporting(Message(True)):
        logger.error("Task handler raised error: %r", error)
        logger.warning("Soft time limit")
    logger.error("Task handler raised error: %r", error)
    inside, soft, outside = caplog.records
    assert (inside.levelname, inside.job_id) == (level, "an-id")
    assert not hasattr(soft, "job_id")
    assert (outside.levelname, hasattr(outside, "job_id")) == ("ERROR", False)


@pytest.mark.parametrize("is_jobs", [True, False])
def test_celery_reports_the_end_of_a_job_under_this_eye(monkeypatch, is_jobs, active):
    seen = []

    def report(self, *args, **kwargs):
        seen.append(deaths._request.get() is self)

    monkeypatch.setattr(Request, "on_failure", report)
    monkeypatch.setattr(Request, "on_timeout", report)
    monkeypatch.setattr(JobRequest, "is_jobs", is_jobs)
    request = JobRequest.__new__(JobRequest)
    request.worker_pid = PID
    request._task = type("Task", (), {"acks_late": False})
    request.on_failure(None)
    request.on_timeout(True, 1)
    assert not deaths._killed
    request.on_timeout(False, 1)
    assert seen == [is_jobs] * 3
    assert list(deaths._killed) == [PID] * is_jobs
