"""What is added to each of Celery's workers: a relay, a quick look for dead children, and less harm by unknown tasks.

All of it runs in the worker's main process. The relay has a thread there, and is no timer of the event loop: a database
that hangs must not keep the worker from its broker. Connections are kept in all processes (``worker/connections.py``).
"""

import logging
import threading
from typing import Any

from celery import bootsteps, signals

from ..conf import conf
from ..jobs.publish import HEADER
from ..jobs.relay import Relay
from .connections import keep_connections
from .parent import wait_for_reports

__all__ = ["connect"]

logger = logging.getLogger(__name__)

#: How often a worker looks for child processes that died. Celery does so every 5 seconds. It notices at once only the
#: death of the child that was started last: each child keeps the pipes of those before it open.
CHILDREN_SECONDS = 1.0
#: How long a worker that stops waits until its reports about jobs are stored, and for its relay.
SHUTDOWN_SECONDS = 3.0


def connect() -> None:
    """Add the steps to every worker that this process starts."""
    signals.worker_init.connect(_add_steps, dispatch_uid="async_accept.worker.steps")
    signals.worker_shutdown.connect(_wait, dispatch_uid="async_accept.worker.shutdown")


class RelayThread(threading.Thread):
    """A relay in a thread of its own."""

    def __init__(self) -> None:
        super().__init__(name="async_accept relay", daemon=True)
        self.relay = Relay()

    def run(self) -> None:
        self.relay.run()

    def stop(self) -> None:
        """End the relay, and wait for it unless its database or its broker hangs."""
        self.relay.stop()
        self.join(SHUTDOWN_SECONDS)


class RunRelay(bootsteps.StartStopStep):
    """Run a relay beside the worker; a step of the worker, because leases run out without a broker, too.

    It starts after the pool, so that the first processes are forked before there is a thread and a connection. Celery
    stops ``obj`` at a warm and at a cold shutdown.
    """

    requires = ("celery.worker.components:Pool",)
    obj: RelayThread | None

    def include_if(self, worker: Any) -> bool:
        return bool(conf.RELAY_IN_WORKER)

    def start(self, worker: Any) -> None:
        self.obj = RelayThread()
        self.obj.start()


class WatchChildren(bootsteps.StartStopStep):
    """Notice a dead child within ``CHILDREN_SECONDS``, so that its job need not wait until its lease runs out."""

    requires = ("celery.worker.consumer:Tasks",)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        self.timer: Any = None
        super().__init__(consumer, **kwargs)

    def start(self, consumer: Any) -> None:
        # Without an event loop Celery has a thread for it, which looks often enough.
        if consumer.hub is not None:
            self.timer = consumer.hub.call_repeatedly(CHILDREN_SECONDS, consumer.pool.maintain_pool)

    def stop(self, consumer: Any) -> None:
        if self.timer is not None:
            self.timer.cancel()


class DropUnknownTasks(bootsteps.StartStopStep):
    """Drop the message of a job whose task this worker does not know, because it runs older code than others.

    Celery would store a failure under the job's id, in the place of its result. The relay publishes the job again.
    """

    requires = ("celery.worker.consumer:Tasks",)

    def start(self, consumer: Any) -> None:
        fail = type(consumer).on_unknown_task

        def drop(body: Any, message: Any, error: Exception) -> None:
            if HEADER not in (message.headers or {}):
                fail(consumer, body, message, error)
                return
            message.reject_log_error(logger, consumer.connection_errors)
            job, name = message.headers.get("id"), message.headers.get("task")
            logger.warning(
                "This worker does not know the task %s of job %s", name, job, extra={"job_id": str(job)}
            )

        consumer.on_unknown_task = drop


def _add_steps(sender: Any, **kwargs: Any) -> None:
    keep_connections(sender.app)
    sender.app.steps["worker"].add(RunRelay)
    for step in (WatchChildren, DropUnknownTasks):
        sender.app.steps["consumer"].add(step)


def _wait(**kwargs: Any) -> None:
    wait_for_reports(SHUTDOWN_SECONDS)
