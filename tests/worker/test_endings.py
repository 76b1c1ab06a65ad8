"""Every way out of the work is an end of the attempt."""
# ruff: noqa: DTZ001, DTZ901 naive times are tested here

import asyncio
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from celery import shared_task
from celery.exceptions import Ignore, Reject, Retry
from celery.utils.time import maybe_make_aware
from django.utils import timezone
from django_celery_results.models import TaskResult

from async_accept.jobs.publish import run_here
from async_accept.tasks import JobTask
from async_accept.testing import make_job
from async_accept.worker import shutdown
from async_accept.worker.endings import LONGEST, delay_until
from async_accept.worker.finish import leave
from async_accept.worker.heartbeat import heartbeat
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db

#: It stands in no source line whole.
SECRET = "".join(["hun", "ter", "2"])
deeds = {}


@shared_task(base=JobTask, bind=True, retry_when_lost=True)
def do_deed(self):
    return deeds["deed"](self)


@shared_task(base=JobTask, bind=True, retry_when_lost=True, atomic=True)
def do_atomic(self):
    Note.objects.create(slug="a", title="a")
    return deeds["deed"](self)


def throw(error):
    raise error


def do(deed, task=do_deed):
    deeds["deed"] = deed
    job = make_job(task)
    run_here(job)
    job.refresh_from_db()
    return job


class Stop(BaseException):
    pass


class Unspeakable(BaseException):
    def __str__(self):
        raise KeyError(SECRET)

    __repr__ = __str__


# --- Exceptions that are none of Exception -----------------------------------------------------------------

ENDS = [
    Stop(SECRET),
    Unspeakable(),
    asyncio.CancelledError(SECRET),
    GeneratorExit(SECRET),
    SystemExit(SECRET),
    BaseExceptionGroup(SECRET, [Stop(SECRET)]),
    RecursionError(SECRET),
    MemoryError(SECRET),
    StopIteration(SECRET),
]


@pytest.mark.parametrize("task", [do_deed, do_atomic])
@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
def test_whatever_the_work_raises_fails_the_job_at_once(error, task, caplog):
    job = do(lambda task: throw(error), task)
    assert (job.state, job.attempt, job.problem["code"]) == ("failed", 1, "failed")
    assert job.problem["reference"] in caplog.text
    assert SECRET not in f"{caplog.text} {job.problem} {TaskResult.objects.get(task_id=job.pk).result}"
    assert not Note.objects.exists()


def test_a_task_that_exits_fails(caplog):
    assert do(lambda task: sys.exit(3)).state == "failed"


def test_a_thread_of_the_pool_gets_no_signal():
    """So a KeyboardInterrupt there is the work's own, and so is any exit."""
    told = []
    errors = [KeyboardInterrupt(), SystemExit()]
    thread = threading.Thread(target=lambda: told.extend(map(shutdown.is_shutdown, errors)))
    thread.start()
    thread.join()
    assert told == [False, False]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None], ids=["ignored", "handled"])
def test_a_keyboard_interrupt_is_the_works_own_if_no_signal_raises_it(handler):
    """Celery's worker handles the signal, and its child processes ignore it."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        assert do(lambda task: throw(KeyboardInterrupt())).state == "failed"
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("by", ["a handler", "the pool"])
def test_an_exit_that_a_signal_raised_leaves_the_job_to_its_lease(monkeypatch, by):
    def exit_at_once(number, frame):
        sys.exit(1)

    def deed(task):
        if by == "a handler":
            signal.raise_signal(signal.SIGUSR2)
        monkeypatch.setattr(shutdown, "shutting_down", [True])
        sys.exit(1)

    before = signal.signal(signal.SIGUSR2, exit_at_once)
    deeds["deed"] = deed
    job = make_job(do_deed)
    try:
        with pytest.raises(SystemExit):
            run_here(job)
    finally:
        signal.signal(signal.SIGUSR2, before)
    for attempt in list(heartbeat.attempts):
        leave(attempt)
    job.refresh_from_db()
    assert job.state == "running"


def test_a_greenlet_that_is_killed_is_no_end_of_the_work():
    assert shutdown.is_shutdown(type("GreenletExit", (BaseException,), {})())


@pytest.mark.parametrize("error", [Stop(SECRET), Ignore(SECRET), Reject(SECRET), ValueError(SECRET)])
def test_a_task_class_that_raises_before_the_work_fails_the_job(monkeypatch, error, caplog):
    """The job is claimed by then."""
    monkeypatch.setattr(JobTask.__mro__[1], "before_start", lambda *args: throw(error))
    job = do(lambda task: None)
    assert (job.state, job.attempt) == ("failed", 1)
    assert SECRET not in caplog.text


# --- When a retry is due -----------------------------------------------------------------------------------

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"countdown": 60}, 60),
        ({"countdown": 60.5}, 60.5),
        ({"countdown": Decimal(60)}, 60),
        ({"countdown": Fraction(121, 2)}, 60.5),
        ({"countdown": timedelta(minutes=2)}, 120),
        ({"countdown": True}, 1),
        ({"countdown": 0}, 0),
        ({"countdown": -5}, 0),
        ({"countdown": -(10**300)}, 0),
        ({"countdown": -(10**400)}, None),
        ({"countdown": float("-inf")}, 0),
        ({"countdown": timedelta.min}, 0),
        ({}, 180),
        ({"eta": datetime.min}, 0),
        ({"eta": datetime(1970, 1, 1, tzinfo=UTC)}, 0),
        ({"countdown": float("nan")}, None),
        ({"countdown": Decimal("NaN")}, None),
        ({"countdown": Decimal("sNaN")}, None),
        ({"countdown": float("inf")}, None),
        ({"countdown": 10**400}, None),
        ({"countdown": 1e300}, None),
        ({"countdown": timedelta.max}, None),
        ({"countdown": "60"}, None),
        ({"countdown": 1j}, None),
        ({"countdown": [60]}, None),
        ({"eta": datetime.max}, None),
        ({"eta": datetime.max.replace(tzinfo=UTC)}, None),
        ({"eta": datetime(2031, 5, 1).date()}, None),
        ({"eta": "2031-05-01"}, None),
        ({"eta": 60}, None),
        ({"exc": "text"}, None),
        ({"exc": KeyError}, None),
        ({"max_retries": "3"}, None),
        ({"max_retries": float("nan")}, None),
        ({"max_retries": -1}, None),
        ({"max_retries": 10**400}, 180),
        ({"max_retries": float("inf")}, 180),
        ({"max_retries": 2.5}, 180),
        ({"args": (1,)}, None),
    ],
    ids=str,
)
def test_each_argument_of_retry_has_a_meaning_or_fails_the_job_at_once(given, seconds):
    job = do(lambda task: task.retry(**given))
    if seconds is None:
        assert (job.state, job.attempt, job.problem["code"]) == ("failed", 1, "failed")
    else:
        assert job.state == "accepted"
        assert abs((job.dispatch_at - timezone.now()).total_seconds() - seconds) < 10


@pytest.mark.parametrize("by", ["retry()", "Retry"])
def test_a_naive_time_is_utc_as_in_the_worker_of_celery(by):
    eta = datetime(2031, 5, 1, 12)
    assert maybe_make_aware(eta, "America/Chicago") == eta.replace(tzinfo=UTC)
    job = do(lambda task: task.retry(eta=eta) if by == "retry()" else throw(Retry(when=eta)))
    assert job.state == "accepted"
    assert abs(job.dispatch_at - eta.replace(tzinfo=UTC)) < timedelta(seconds=10)


@pytest.mark.parametrize(
    "when", ["soon", float("nan"), object(), timedelta.max, [1]], ids=lambda when: type(when).__name__
)
def test_a_retry_by_hand_that_says_no_time_fails_the_job(when):
    assert do(lambda task: throw(Retry(when=when))).state == "failed"


def test_the_longest_delay_can_be_stored():
    job = do(lambda task: task.retry(countdown=LONGEST))
    assert job.state == "accepted"
    assert delay_until(LONGEST) == LONGEST


def test_the_reason_of_a_retry_is_told_though_it_cannot_be_pickled():
    class Local(Exception):
        def __reduce__(self):
            raise KeyError

        def __bool__(self):
            return False

    assert do(lambda task: task.retry(exc=Local())).history[0]["reason"] == "retry: Local"
