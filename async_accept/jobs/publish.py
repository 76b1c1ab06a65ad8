"""Publish jobs: a message with the job's id, and nothing else, tells a worker that the job waits.

The row is the outbox. No row is written to say "published": the claim says it. A job that is accepted and past its
``dispatch_at`` is due, whether its message was never published or was lost with the broker; the relay publishes it
again.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from celery import current_app
from django.core.exceptions import ImproperlyConfigured
from kombu import Producer

from ..exceptions import BrokerUnavailable, Unavailable
from ..models import Job
from ..steps import Step, take
from .broker import Broker, broker
from .confirms import must_arrive, send_together
from .messages import send

__all__ = [
    "HEADER",
    "Waiting",
    "check_broker",
    "message_options",
    "publish",
    "publish_accepted",
    "queue_of",
    "run_here",
    "send_options",
]

logger = logging.getLogger(__name__)

#: The header that marks a message as one for a job.
HEADER = "async_accept_job"
#: How many messages are sent together.
CHUNK = 100
#: The highest priority of a message (AMQP); Redis has fewer steps.
MAX_PRIORITY = 255


class Waiting(NamedTuple):
    """A job that waits, as far as its message needs to know it."""

    pk: UUID
    task: str
    #: ``Job.message_options``.
    options: Mapping[str, Any] | None = None


def message_options(
    *, queue: Any = None, priority: Any = None, time_limit: Any = None, soft_time_limit: Any = None
) -> dict[str, Any] | None:
    """Return how the messages of a job are sent, as far as its view says so; None if it does not.

    Raises:
        ImproperlyConfigured: a value that Celery could not use; the text begins with the name of the option.
    """
    if not (queue is None or (isinstance(queue, str) and queue)):
        raise ImproperlyConfigured(f"queue is {queue!r}; it is the name of a queue.")
    if not (priority is None or (type(priority) is int and 0 <= priority <= MAX_PRIORITY)):
        raise ImproperlyConfigured(
            f"priority is {priority!r}; it is a whole number from 0 to {MAX_PRIORITY}."
        )
    limits = {"time_limit": time_limit, "soft_time_limit": soft_time_limit}
    for name, seconds in limits.items():
        if not (seconds is None or (type(seconds) in (int, float) and 0 < seconds < float("inf"))):
            raise ImproperlyConfigured(f"{name} is {seconds!r}; it is a number of seconds.")
    if time_limit is not None and soft_time_limit is not None and soft_time_limit >= time_limit:
        raise ImproperlyConfigured(
            f"soft_time_limit is {soft_time_limit} s; it must be shorter than time_limit, {time_limit} s."
        )
    given = {"queue": queue, "priority": priority, **limits}
    return {name: value for name, value in given.items() if value is not None} or None


def check_broker() -> None:
    """Make sure that the broker answers.

    Raises:
        Unavailable: it is down (503).
    """
    if current_app.conf.task_always_eager:
        return
    try:
        broker.check()
    except BrokerUnavailable as error:
        raise Unavailable from error


def publish(jobs: Iterable[Waiting | tuple[UUID, str]], via: Broker = broker) -> Sequence[UUID]:
    """Publish a message for each job; return the ids that are done with, in order.

    A job that cannot be published for a reason of its own, such as a route to nowhere or a queue that is full, is
    logged and passed over: it must not stand in the way of the others.

    Raises:
        BrokerUnavailable: it took none of them.
    """
    waiting = [Waiting(*job) for job in jobs]
    done: list[UUID] = []
    alone = 0
    while chunk := waiting[len(done) : len(done) + (1 if len(done) < alone else CHUNK)]:
        try:
            refused = via.use(partial(_publish_chunk, chunk))
        except BrokerUnavailable:
            if not done:
                raise
            break
        except Exception as error:
            if len(chunk) > 1:
                alone = len(done) + len(chunk)  # one by one, to find the job that cannot be published
                continue
            _pass_over(chunk[0], error)
        else:
            if refused:
                _tell_refused(refused)
        done += [job.pk for job in chunk]
    return done


def _publish_chunk(jobs: Sequence[Waiting], producer: Producer) -> list[Waiting]:
    """Publish a message for each job; return those that the broker refused."""
    proxy: Any = current_app  # each attribute of it costs a look-up of the app
    app = proxy._get_current_object()
    return send_together(producer, jobs, partial(_publish_one, app, producer))


def _publish_one(app: Any, producer: Producer, job: Waiting) -> None:
    pk, name, of_view = job
    task: Any = app.tasks.get(name)  # None where only the workers know it
    options = {
        **send_options(task, of_view),
        "task_type": task,
        "retry": False,
        "add_to_parent": False,
        # Celery shall not store or subscribe to anything: the task's own backend does all of it.
        "ignore_result": True,
        **must_arrive(producer),
    }
    headers = {**options.pop("headers", {}), HEADER: 1}
    take(Step.PUBLISH, job, partial(send, app, producer, name, str(pk), headers, options))


def _tell_refused(jobs: Sequence[Waiting]) -> None:
    pk = jobs[0].pk
    logger.warning(
        "The broker refused the messages of %d jobs, such as %s. Their queue may be full.",
        *(len(jobs), pk),
        extra={"job_id": str(pk)},
    )


def _pass_over(job: Waiting, error: Exception) -> None:
    kind, pk = type(error).__name__, job.pk
    logger.error("Job %s cannot be published for %s: %s", pk, job.task, kind, extra={"job_id": str(pk)})


def send_options(task: Any, of_view: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return how *task* is sent: as ``apply_async()`` would, but without the arguments, which wait in the row.

    A message never expires: the job does not either.

    Args:
        of_view: what the view says, which beats what the task says (``Job.message_options``).
    """
    options = {} if task is None else task._get_exec_options()
    sent = {key: value for key, value in options.items() if value is not None and key != "expires"}
    if of_view and "queue" in of_view:
        # The task's own way to another queue.
        sent.pop("exchange", None)
        sent.pop("routing_key", None)
    return sent | dict(of_view or {})


def queue_of(name: str, of_view: Mapping[str, Any] | None = None) -> str | None:
    """Return the name of the queue that a job's messages go to; None where its route names no queue.

    Args:
        name: of the task.
        of_view: as in ``send_options()``.
    """
    try:
        route = current_app.amqp.router.route(send_options(current_app.tasks.get(name), of_view), name)
    except Exception:  # routers are the project's own code
        return None
    queue = route.get("queue")
    return getattr(queue, "name", queue)


def publish_accepted(job: Job) -> None:
    """Publish a job that was just accepted; if the broker fails, the relay does it later."""
    if current_app.conf.task_always_eager:
        run_here(job)
        return
    try:
        publish([Waiting(job.pk, job.task, job.message_options)])
    except BrokerUnavailable as error:
        logger.warning("The broker did not take job %s: %s", job.pk, error, extra={"job_id": str(job.pk)})


def run_here(job: Job) -> None:
    """Run one attempt of *job* in this process, without a broker (eager mode and tests)."""
    task: Any = current_app.tasks[job.task]
    task.apply(task_id=str(job.pk), headers={HEADER: 1}, throw=False)
