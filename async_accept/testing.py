"""Helpers for the tests of your project. They need no broker, no worker and no sleep.

A message only says which job waits, so these helpers run a job from its row: inside ``TestCase`` too, and whether
``task_always_eager`` is on or off. The other tasks that the work sends reach no broker; ``sent_tasks()`` has them.
"""

import inspect
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from celery import Celery
from django.db import connections

from . import encoding
from .conf import conf
from .jobs import publish, results, values
from .jobs.accept import task_limits
from .jobs.attempt import Attempt, observed
from .jobs.broker import Broker
from .jobs.replay import REPLAY
from .models import Job, database_now, new_id
from .problems import Problem, is_unexpected, problem
from .receivers import Receiver
from .receivers.schemes import Message
from .states import FINAL, State
from .worker.finish import leave

__all__ = [
    "RanJob",
    "SentTask",
    "accepted_jobs",
    "assert_accepted",
    "follow",
    "make_job",
    "run_accepted_jobs",
    "run_job",
    "sent_tasks",
    "sign",
    "sign_request",
]

#: More attempts than any sensible policy allows.
ROUNDS = 100


@dataclass(frozen=True)
class SentTask:
    """One of the project's other tasks, as the work has sent it: ``send_mail.delay(7)``."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    #: What else ``apply_async()`` was given, such as ``countdown`` or ``queue``.
    options: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass
class RanJob:
    """A job as it ended, and what could be seen of it on the way."""

    job: Job
    #: The body of the result, as a client reads it: JSON as data, anything else as bytes; None for no body.
    result: Any = None
    #: The progress after each report, as the status monitor shows it.
    progress: list[dict[str, Any]] = field(default_factory=list)
    #: The project's other tasks that the work has sent.
    sent: list[SentTask] = field(default_factory=list)

    @property
    def state(self) -> str:
        return self.job.state

    @property
    def problem(self) -> Problem | None:
        return self.job.problem  # type: ignore[no-any-return]


# --- Looking ---------------------------------------------------------------------------------------------


def accepted_jobs(**conditions: Any) -> list[Job]:
    """Return the jobs that wait, the oldest first.

    Args:
        conditions: look-ups that choose the jobs, such as ``operation="orders.create"``.
    """
    return list(Job.objects.filter(state=State.ACCEPTED, **conditions).order_by("created_at", "id"))


def assert_accepted(response: Any, **expected: Any) -> Job:
    """Return the job behind a 202.

    Args:
        expected: columns of the job, such as ``operation="orders.create"``.

    Raises:
        AssertionError: the response is no 202 of this library, or the job is another than expected.
    """
    if response.status_code != 202:
        raise AssertionError(f"Expected a 202, got {response.status_code}: {_shown(response)}")
    monitor = response.headers.get("Operation-Location", "")
    pk = monitor.rstrip("/").rpartition("/")[2]
    if not pk:
        raise AssertionError(f"This 202 has no Operation-Location, so it is none of ours: {_shown(response)}")
    job = Job.objects.filter(pk=pk).first()
    if job is None:
        stored = ", ".join(map(str, Job.objects.all()[:5])) or "none at all"
        raise AssertionError(f"The 202 names job {pk}, which is not stored; stored are {stored}.")
    wrong = [
        f"{name} is {getattr(job, name)!r}, not {value!r}"
        for name, value in expected.items()
        if getattr(job, name) != value
    ]
    if wrong:
        raise AssertionError(f"Job {job}: {'; '.join(wrong)}.")
    return job


def _shown(response: Any) -> str:
    content = b"" if getattr(response, "streaming", False) else response.content
    return content[:1000].decode(errors="replace") or "(no body)"


# --- Running -----------------------------------------------------------------------------------------------


def run_accepted_jobs(raises: bool = True, **conditions: Any) -> list[Job]:
    """Run every accepted job here and now, with its retries, and return the jobs as they ended.

    Jobs that these jobs accept run as well, if the conditions choose them. What the work leaves to
    ``transaction.on_commit()`` happens inside ``TestCase`` too. Other tasks that it sends are not sent: see
    ``sent_tasks()``.

    Args:
        raises: raise the exception again that no client was meant to see, such as a ``KeyError``; errors with words
            for the client (``JobFailed``, a 4xx of the view) only end their job. False keeps every exception in
            its job, as in production.
        conditions: look-ups that choose the jobs, such as ``operation="orders.create"``.

    Raises:
        AssertionError: a job is still not ended after 100 attempts.
    """
    waiting = Job.objects.filter(state=State.ACCEPTED, **conditions)
    ran: dict[Any, None] = {}
    for _ in range(ROUNDS):
        ids = list(waiting.order_by("id").values_list("pk", flat=True))
        if not ids:
            return list(Job.objects.filter(pk__in=ran).order_by("id"))
        # A job that was given back waits until the relay publishes it; here that is now.
        Job.objects.filter(pk__in=ids, attempt__gt=0, dispatches=0).update(dispatches=1)
        for job in Job.objects.filter(pk__in=ids).order_by("id"):
            ran[job.pk] = None
            _run_once(job, raises)
    raise AssertionError(f"Jobs are still not ended after {ROUNDS} attempts: {ids}")


def run_job(task: Any, *, raises: bool = True, owner: Any = None, **kwargs: Any) -> RanJob:
    """Run one task as a job, with its retries, and return the job with its progress and its result.

    The input and the result pass through strict JSON, as they do in production.

    Args:
        task: a ``JobTask``.
        raises: as in ``run_accepted_jobs()``.
        kwargs: the task's input.
    """
    job = make_job(task, owner=owner, input=values.keep(kwargs))
    shown: list[dict[str, Any]] = []

    def watch(attempt: Attempt) -> None:
        now = attempt.progress.snapshot().get("progress")
        if attempt.job.pk == job.pk and now is not None and (not shown or shown[-1] != now):
            shown.append(now)

    with observed(watch), sent_tasks() as sent:
        run_accepted_jobs(raises, pk=job.pk)
    job.refresh_from_db()
    if job.progress is not None and (not shown or shown[-1] != job.progress):
        shown.append(job.progress)
    return RanJob(job, _result(job), shown, sent)


def follow(client: Any, response: Any, *, raises: bool = True) -> Any:
    """Run the job behind a 202, follow its URLs as a client does, and return the final response.

    Args:
        client: the test client that got *response*.
        raises: as in ``run_accepted_jobs()``.
    """
    job = assert_accepted(response)
    run_accepted_jobs(raises, pk=job.pk)
    final = client.get(response.headers["Location"])
    if final.status_code == 202:
        job.refresh_from_db()
        raise AssertionError(f"Job {job} has not ended: it is {job.state}.")
    return final


def _run_once(job: Job, raises: bool) -> None:
    attempts: list[Attempt] = []

    def watch(attempt: Attempt) -> None:
        if attempt not in attempts:
            attempts.append(attempt)

    try:
        with observed(watch), sent_tasks(), _committing():
            publish.run_here(job)
    finally:
        # An exception that would have ended the process, such as SystemExit, ends the attempt here.
        for attempt in reversed(attempts):
            if not attempt.ended:
                leave(attempt)
    for attempt in attempts:
        if (
            raises
            and attempt.error is not None
            and attempt.job.pk == job.pk
            and is_unexpected(attempt.job.problem or {})
        ):
            raise attempt.error


@contextmanager
def _committing() -> Iterator[None]:
    """Call what the work left to ``on_commit()``, inside ``TestCase`` too, whose transaction never commits."""
    before = {each.alias: len(each.run_on_commit) for each in connections.all(initialized_only=True)}
    yield
    while entry := _next_left(before):
        _, callback, robust = entry
        if getattr(callback, "__qualname__", "") == publish.publish_accepted.__qualname__:
            continue  # a job that the work accepted: no worker listens to the broker
        try:
            callback()
        except Exception:
            if not robust:
                raise


def _next_left(before: dict[str, int]) -> Any:
    """Take the oldest callback that was added to a connection since *before*; None if there is none."""
    for connection in connections.all(initialized_only=True):
        earlier = before.get(connection.alias, 0)
        if len(connection.run_on_commit) > earlier:
            return connection.run_on_commit.pop(earlier)
    return None


def _result(job: Job) -> Any:
    if job.state != State.SUCCEEDED:
        return None
    result = results.load(job)
    if isinstance(result.body, str):
        return encoding.loads(result.body)
    if result.body is None or isinstance(result.body, bytes):
        return result.body
    with result.body as file:
        return file.read()


# --- Other tasks --------------------------------------------------------------------------------------------

#: The lists that are being filled.
_collecting: list[list[SentTask]] = []


@contextmanager
def sent_tasks() -> Iterator[list[SentTask]]:
    """Keep Celery tasks from being sent inside the block, and return the list of them.

    ``delay()``, ``delay_on_commit()``, ``apply_async()``, ``send_task()`` and signatures give their result object as
    usual, but nothing reaches a broker and nothing runs. If ``task_always_eager`` is on, Celery runs a task at once, as
    that setting says, and sends nothing. The messages of jobs are not in the list.
    """
    sent: list[SentTask] = []
    _collecting.append(sent)
    try:
        with patch.object(Celery, "send_task", _keep), patch.object(Broker, "use", _use_none):
            yield sent
    finally:
        _collecting[:] = [other for other in _collecting if other is not sent]


SEND_TASK = inspect.signature(Celery.send_task)


def _keep(app: Celery, *args: Any, **kwargs: Any) -> Any:
    """Stand for ``Celery.send_task()``."""
    given = {**SEND_TASK.bind(app, *args, **kwargs).arguments}
    given |= given.pop("options", {})
    kept = [given.pop(name, None) for name in ("name", "args", "kwargs", "task_id", "result_cls")]
    name, positional, named, task_id, result_class = kept
    options = {key: value for key, value in given.items() if value is not None and key not in OF_CELERY}
    task = SentTask(name, tuple(positional or ()), dict(named or {}), options)
    for sent in _collecting:
        sent.append(task)
    return (result_class or app.AsyncResult)(task_id or str(uuid4()))


#: What Celery passes on by itself.
OF_CELERY = frozenset({"self", "producer", "publisher", "connection", "router", "task_type", "add_to_parent"})


def _use_none(broker: Broker, work: Any) -> None:
    """Stand for ``Broker.use()``: nobody listens for the messages of jobs."""


# --- Making -------------------------------------------------------------------------------------------------


def make_job(
    task: Any = REPLAY,
    *,
    state: str = State.ACCEPTED,
    result: Any = None,
    **columns: Any,
) -> Job:
    """Store a job in any state, by the same steps that lead there in production.

    Args:
        task: a ``JobTask``, or a task's name.
        state: ``accepted``, ``running``, ``canceling``, ``succeeded``, ``failed`` or ``canceled``.
        result: the result of a succeeded job.
        columns: further columns, such as ``owner``, ``progress``, ``input`` or ``finished_at``. Without an owner
            the job is an anonymous caller's, unless ``anonymous=False``.
    """
    name = task if isinstance(task, str) else task.name
    columns = {"operation": name.rpartition(".")[2], "anonymous": columns.get("owner") is None, **columns}
    if not isinstance(task, str):
        columns = {**task_limits(task), **columns}
    # What accepting does not know yet is written over what the steps have left.
    later = {key: columns.pop(key) for key in LATER & columns.keys()}
    columns.setdefault("id", new_id(anonymous=columns["anonymous"]))
    job = Job(task=name, dispatch_at=database_now() + conf.REPUBLISH_AFTER, **columns)
    job.save(force_insert=True)
    _lead(job, State(state), result, later.get("problem"))
    if later:
        Job.objects.filter(pk=job.pk).update(**later)
    job.refresh_from_db()
    return job


#: Columns that a transition would write over.
LATER = {
    "attempt",
    "dispatch_at",
    "expires_at",
    "finished_at",
    "lease_until",
    "problem",
    "progress",
    "queue",
    "response",
    "started_at",
    "sweep_at",
    "updated_at",
    "worker",
    "worker_pid",
}


def _lead(job: Job, state: State, result: Any, document: Problem | None) -> None:
    if state == State.ACCEPTED:
        return
    if state == State.CANCELED:
        job.cancel()
        return
    job.claim("worker@test", 1)
    if state == State.CANCELING:
        job.cancel()
    elif state == State.SUCCEEDED:
        results.succeed(job, results.encode(result))
    elif state == State.FAILED:
        results.fail(job, document or problem("failed"), RuntimeError("failed on purpose"), None)
    assert state in FINAL or job.state == state


# --- Webhooks -------------------------------------------------------------------------------------------------


def sign(
    receiver: type[Receiver],
    body: bytes,
    *,
    secret: str | None = None,
    id: str = "msg_test",
    timestamp: float | None = None,
    url: str = "",
    content_type: str = "application/json",
) -> dict[str, str]:
    """Return the headers with which the sender of *receiver* would send *body*; no network is used.

    Args:
        secret: with which to sign; by default the first one of *receiver*.
        id: the sender's id of the message, if it has a header for it.
        timestamp: when it is signed, in seconds since 1970; by default now.
        url: the whole URL, for senders that sign it (Twilio).
        content_type: of the body, for senders that sign the fields of a form (Twilio).
    """
    told = str(int(time.time() if timestamp is None else timestamp))
    secrets = receiver().get_secrets() if secret is None else [secret]
    message = Message(body, told, id, url, content_type)
    headers = receiver.scheme.sign(message, secrets[:1])
    return {receiver.id_header: id, **headers} if receiver.id_header else headers


def sign_request(
    receiver: type[Receiver],
    data: Any,
    *,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
    **signed: Any,
) -> dict[str, Any]:
    """Return the arguments of ``client.post(url, …)`` for a request that the sender of *receiver* would send.

    Args:
        data: the body: bytes as they are, anything else as JSON.
        headers: further headers, such as ``{"X-GitHub-Event": "push"}``.
        signed: as in ``sign()``.
    """
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    made = sign(receiver, body, content_type=content_type, **signed)
    return {"data": body, "content_type": content_type, "headers": {**made, **(headers or {})}}
