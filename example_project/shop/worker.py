"""A Celery worker in a thread of this process, for the demo only.

It is Celery's own worker without what belongs to a program: signal handlers, which only a main thread may
set, and a banner. With the `memory://` transport the web server beside it reaches it without any broker.
"""

import threading
import time

from celery import Celery, signals
from celery.concurrency.thread import TaskPool
from celery.platforms import EX_OK
from celery.worker import WorkController
from celery.worker import state as worker_state

__all__ = ["WorkerThread"]


class _Pool(TaskPool):
    # Celery keeps this for the whole process, where others may well wait for results.
    task_join_will_block = False


class _Controller(WorkController):
    def on_consumer_ready(self, consumer) -> None:
        # Sent by Celery's program only, and what others start with a worker (the relay) waits for it.
        signals.worker_ready.send(sender=consumer)


class WorkerThread(threading.Thread):
    """Runs a worker until `stop()`; a daemon, so that a job that does not end cannot hold the process."""

    def __init__(self, app: Celery, concurrency: int = 4) -> None:
        super().__init__(name="worker", daemon=True)
        # Not Celery's own list: a thread that ended in mid-job (see `trouble`) stays in that for ever.
        self.running: set[str] = set()
        signals.task_prerun.connect(self._begun)
        signals.task_postrun.connect(self._ended)
        self.controller = _Controller(
            app=app,
            hostname="demo@localhost",
            pool=_Pool,
            concurrency=concurrency,
            use_eventloop=False,  # the plain loop, which serves each transport
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
        """Take no more jobs, and give the running ones so many seconds. Returns: how many still run then.

        The worker's own loop may stand in a wait of seconds, so the pool is closed at once: what has not begun
        is not claimed either, and is taken up after the next start.
        """
        worker_state.should_stop = EX_OK
        self.controller.pool.executor.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + seconds
        while self.running and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(self.running)
