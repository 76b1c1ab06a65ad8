"""Wiring into Celery's worker: a relay beside its work, a look after its children, and messages it does not know.

The relay is a thread of the worker's main process, not a timer of its event loop: a database that hangs must not keep
the worker from its broker.
"""

import logging
import threading
from typing import Any

from celery import bootsteps, signals

from ..conf import conf
from ..jobs.publish import HEADER
from ..jobs.relay import Relay
from .parent import wait_for_reports

__all__ = ["connect"]

logger = logging.getLogger(__name__)

#: How often a worker looks after its child processes. Celery does so every 5 seconds: it is told of a death at once
#: only by the child that was started last, because each child holds the pipes of those before it open.
CHILDREN_SECONDS = 1.0
#: How long a worker that stops waits for what it has to say about its jobs.
FAREWELL_SECONDS = 3.0


def connect() -> None:
    """Equip every worker of this process."""
    signals.worker_init.connect(_equip, dispatch_uid="async_accept.worker.equip")
    signals.worker_shutdown.connect(_stopped, dispatch_uid="async_accept.worker.stopped")


class RunRelay(bootsteps.StartStopStep):
    """Run a relay beside the worker's work, also while the broker is away: leases run out all the same.

    It starts after the pool, so that the first processes are forked before there is a thread and a connection.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        self.relay: Relay | None = None
        super().__init__(worker, **kwargs)

    def include_if(self, worker: Any) -> bool:
        return bool(conf.RELAY_IN_WORKER)

    def start(self, worker: Any) -> None:
        self.relay = Relay()
        threading.Thread(target=self.relay.run, name="async_accept relay", daemon=True).start()

    def stop(self, worker: Any) -> None:
        if self.relay is not None:
            self.relay.stop()


class LookAfterChildren(bootsteps.StartStopStep):
    """Notice a dead child within ``CHILDREN_SECONDS``, so that its job need not wait for its lease."""

    requires = ("celery.worker.consumer:Tasks",)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        self.timer: Any = None
        super().__init__(consumer, **kwargs)

    def start(self, consumer: Any) -> None:
        # Without an event loop Celery has a thread for this, which looks often enough.
        if consumer.hub is not None:
            self.timer = consumer.hub.call_repeatedly(CHILDREN_SECONDS, consumer.pool.maintain_pool)

    def stop(self, consumer: Any) -> None:
        if self.timer is not None:
            self.timer.cancel()


class LeaveUnknownTasks(bootsteps.StartStopStep):
    """Drop the message of a job whose task this worker does not know, such as an old one beside new ones.

    Celery would store a failure under the job's id, in the place of its answer. The relay rings again.
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


def _equip(sender: Any, **kwargs: Any) -> None:
    sender.app.steps["worker"].add(RunRelay)
    for step in (LookAfterChildren, LeaveUnknownTasks):
        sender.app.steps["consumer"].add(step)


def _stopped(**kwargs: Any) -> None:
    wait_for_reports(FAREWELL_SECONDS)
