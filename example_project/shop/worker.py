"""A Celery worker in a thread of this process, for the demo only.

It is Celery's own worker, but without the parts of the program `celery worker`: the banner, and the signal handlers,
which only a main thread may set. Web server and worker share the process, so the `memory://` transport connects them
without a broker.
"""

import threading
import time

from celery import Celery, signals
from celery.concurrency.thread import TaskPool
from celery.platforms import EX_OK
from celery.worker import WorkController
from celery.worker import state as worker_state

from async_accept.conf import conf

__all__ = ["WorkerThread"]


class _Pool(TaskPool):
    # Celery sets this for the whole process, and then nobody may wait for a result there.
    task_join_will_block = False


class _Controller(WorkController):
    def on_consumer_ready(self, consumer) -> None:
        # `celery worker` sends this signal; WorkController does not. The relay starts with it.
        signals.worker_ready.send(sender=consumer)


class WorkerThread(threading.Thread):
    """Runs a worker until `stop()`. It is a daemon thread, so a job that does not end cannot keep the process alive."""

    def __init__(self, app: Celery, concurrency: int = 4) -> None:
        super().__init__(name="worker", daemon=True)
        # Celery has such a list too, but a thread that ended in the middle of a job (see `trouble`) stays in it.
        self.running: set[str] = set()
        signals.task_prerun.connect(self._begun)
        signals.task_postrun.connect(self._ended)
        self.controller = _Controller(
            app=app,
            hostname="demo@localhost",
            pool=_Pool,
            concurrency=concurrency,
            queues=[app.conf.task_default_queue, conf.WEBHOOK_QUEUE],
            use_eventloop=False,  # the blocking loop, which works with every transport
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )

    def run(self) -> None:
        self.controller.start()

    def _begun(self, task_id: str, **kwargs: object) -> None:
        self.running.add(task_id)

    def _ended(self, task_id: str, **kwargs: object) -> None:
        self.running.discard(task_id)

    def stop(self, seconds: float) -> int:
        """Take no more jobs, and wait for the running ones for this long. Return how many still run.

        The worker's loop can take seconds to notice that it should stop. So the pool is closed at once: a job that has
        not begun is not claimed, and begins after the next start.
        """
        worker_state.should_stop = EX_OK
        self.controller.pool.executor.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + seconds
        while self.running and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(self.running)
