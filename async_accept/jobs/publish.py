"""Publish jobs: a message with the job's id, and nothing else, tells a worker that the job waits.

The row is the outbox. No row is written to say "published": the claim says it. A job that is accepted and past its
``dispatch_at`` is due, whether its message was never published or was lost with the broker; the relay publishes it
again.
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, cast
from uuid import UUID

from celery import current_app
from kombu import Producer

from ..exceptions import BrokerUnavailable, Unavailable
from ..models import Job
from .broker import Broker, broker

__all__ = ["HEADER", "check_broker", "publish", "publish_accepted", "queue_of", "run_here", "send_options"]

logger = logging.getLogger(__name__)

#: The header that marks a message as one for a job.
HEADER = "async_accept_job"
#: How many messages are sent together.
CHUNK = 100


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


def publish(jobs: Iterable[tuple[UUID, str]], via: Broker = broker) -> Sequence[UUID]:
    """Publish a message for each (job id, task name); return the ids that are done with, in order.

    A job that cannot be published for a reason of its own, such as a route to nowhere, is logged and passed over: it
    must not stand in the way of the others.

    Raises:
        BrokerUnavailable: it took none of them.
    """
    waiting = list(jobs)
    done: list[UUID] = []
    alone = 0
    while chunk := waiting[len(done) : len(done) + (1 if len(done) < alone else CHUNK)]:
        try:
            via.use(partial(_publish_chunk, chunk))
        except BrokerUnavailable:
            if not done:
                raise
            break
        except Exception as error:
            if len(chunk) > 1:
                alone = len(done) + len(chunk)  # one by one, to find out whose it is
                continue
            _pass_over(*chunk[0], error)
        done.extend(pk for pk, _ in chunk)
    return done


def _publish_chunk(jobs: Sequence[tuple[UUID, str]], producer: Producer) -> None:
    with _together(producer, len(jobs)):
        for pk, name in jobs:
            task: Any = current_app.tasks.get(name)  # None where only the workers know it
            options = {
                **send_options(task),
                "producer": producer,
                "retry": False,
                "add_to_parent": False,
                # Celery shall not store or subscribe to anything: the task's own backend does all of it.
                "ignore_result": True,
                "headers": {HEADER: 1},
            }
            current_app.send_task(name, task_id=str(pk), task_type=task, **options)


def _together(producer: Producer, size: int) -> AbstractContextManager[object]:
    """Send what is published inside in one round trip, where Kombu (5.7) and the broker can."""
    batch = getattr(producer, "batch", None)
    return nullcontext() if batch is None or size == 1 else cast(AbstractContextManager[object], batch())


def _pass_over(pk: UUID, name: str, error: Exception) -> None:
    kind = type(error).__name__
    logger.error("Job %s cannot be published for %s: %s", pk, name, kind, extra={"job_id": str(pk)})


def send_options(task: Any) -> dict[str, Any]:
    """Return how *task* is sent: as ``apply_async()`` would, but without the arguments, which wait in the row.

    A message never expires: the job does not either.
    """
    if task is None:
        return {}
    options = task._get_exec_options()
    return {key: value for key, value in options.items() if value is not None and key != "expires"}


def queue_of(name: str) -> str | None:
    """Return the name of the queue that the task's messages go to; None where its route names no queue."""
    try:
        route = current_app.amqp.router.route(send_options(current_app.tasks.get(name)), name)
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
        publish([(job.pk, job.task)])
    except BrokerUnavailable as error:
        logger.warning("The broker did not take job %s: %s", job.pk, error, extra={"job_id": str(job.pk)})


def run_here(job: Job) -> None:
    """Run one attempt of *job* in this process, without a broker (eager mode and tests)."""
    task: Any = current_app.tasks[job.task]
    task.apply(task_id=str(job.pk), headers={HEADER: 1}, throw=False)
