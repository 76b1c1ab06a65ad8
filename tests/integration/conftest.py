import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import current_app

from async_accept.jobs.broker import broker

from .tasks import QUEUE

Start = Callable[..., "subprocess.Popen[bytes]"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def start_worker(child_environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start real workers with this run's database and broker. They are killed after the test."""
    if current_app.conf.broker_url.startswith("memory"):
        pytest.skip("needs a broker between processes: set CELERY_BROKER_URL")
    started = []
    log = (tmp_path / "workers.log").open("wb")

    def start(*, old: bool = False, **environment: str) -> "subprocess.Popen[bytes]":
        """Start a worker. An *old* one does not know the task yet."""
        command = [sys.executable, "-m", "celery", "-A", "tests.celery", "worker"]
        command += [] if old else ["-I", "tests.integration.tasks"]
        options = ["-Q", QUEUE, "-c", "1", "-n", f"{len(started)}@{tmp_path.name}", "-l", "INFO"]
        worker = subprocess.Popen(
            [*command, *options],
            cwd=ROOT,
            env=child_environment | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        started.append(worker)
        return worker

    yield start
    for worker in started:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    broker.close()
    with current_app.connection_for_write() as connection:
        connection.default_channel.queue_delete(QUEUE)
