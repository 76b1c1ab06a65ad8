"""Runs jobs here and now, from their rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from django.db import connections
from django.test import RequestFactory

from .. import encoding
from ..jobs import publish, results, values
from ..jobs.attempt import Attempt, observed
from ..jobs.broker import Broker
from ..models import Job
from ..problems import Problem, is_unexpected
from ..states import State
from ..worker.callbacks import Tolerated
from ..worker.finish import leave
from .looking import assert_accepted
from .making import make_job
from .sending import SentTask, sent_tasks, use_none

__all__ = ["RanJob", "follow", "run_accepted_jobs", "run_job", "waiting_jobs"]

#: More attempts than any sensible policy allows.
ROUNDS = 100


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

    The second request has the scheme and the host of ``Location``, and the ``Authorization`` of the first one.

    Args:
        client: the test client that got *response*, Django's or REST framework's.
        raises: as in ``run_accepted_jobs()``.
    """
    job = assert_accepted(response)
    run_accepted_jobs(raises, pk=job.pk)
    final = _get(client, response)
    if final.status_code == 202:
        job.refresh_from_db()
        raise AssertionError(f"Job {job} has not ended: it is {job.state}.")
    return final


def _get(client: Any, response: Any) -> Any:
    """Get the ``Location`` of *response*."""
    location = response.headers["Location"]
    if not isinstance(client, RequestFactory):
        return client.get(location)  # such as REST framework's RequestsClient
    # Django's clients take the path of a URL and nothing else.
    url = urlsplit(location)
    sent = {name: value for name, value in response.request.items() if name == "HTTP_AUTHORIZATION"}
    return client.get(location, secure=url.scheme == "https", HTTP_HOST=url.netloc, **sent)


@contextmanager
def waiting_jobs() -> Iterator[None]:
    """Let the jobs that are accepted inside the block wait until a helper runs them.

    Their messages reach no broker, also those of a live server's threads, and eager mode runs nothing at once.
    """
    with patch.object(publish, "publish_accepted", _publish_nothing), patch.object(Broker, "use", use_none):
        yield


def _publish_nothing(job: Job) -> None:
    """Stand for ``publish_accepted()``."""


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
        if isinstance(callback, Tolerated):
            callback = callback.callback  # here its error fails the test
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
