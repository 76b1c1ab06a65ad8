"""The commands ``doctor`` and ``relay`` in processes of their own, with a real broker."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from async_accept.jobs.broker import broker
from async_accept.models import Job
from async_accept.testing import make_job
from tests.testapp import tasks

pytestmark = [pytest.mark.redis, pytest.mark.django_db(transaction=True)]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def call(child_environment):
    """Start ``manage.py async_accept``."""
    started = []

    def call(*words):
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "async_accept", *words],
            cwd=ROOT,
            env=child_environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    broker.close()


@pytest.fixture
def worker(child_environment):
    command = [sys.executable, "-m", "celery", "-A", "tests.celery", "worker"]
    command += ["-Q", "celery,webhooks", "-c", "1", "-l", "WARNING"]
    process = subprocess.Popen(command, cwd=ROOT, env=child_environment, start_new_session=True)
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def examine(call, *words):
    process = call("doctor", "--json", *words)
    report = json.loads(process.communicate(timeout=60)[0])
    return process.returncode, {finding["subject"]: finding for finding in report["findings"]}


def test_without_a_worker_the_doctor_says_so(call):
    code, findings = examine(call, "--timeout", "1")
    assert code == 1
    assert (findings["broker"]["level"], findings["workers"]["level"]) == ("ok", "fail")
    assert "probe" not in findings


def test_with_a_worker_a_job_makes_the_round_trip(call, worker):
    for _ in range(20):  # until the worker has started
        code, findings = examine(call, "--timeout", "20")
        if findings["workers"]["level"] == "ok":
            break
    assert findings["probe"]["level"] == "ok", findings
    assert code == 0, findings
    assert not Job.objects.exists()


def test_a_relay_of_its_own_publishes_and_ends_with_sigterm(call, worker):
    job = make_job(tasks.add, input={"x": 1, "y": 2}, dispatch_at=timezone.now() - timedelta(minutes=1))
    relay = call("relay")
    assert relay.stdout.readline().startswith("The relay looks every 3 s.")
    deadline = timezone.now() + timedelta(seconds=30)
    while not job.is_final and timezone.now() < deadline:
        time.sleep(0.1)
        job.refresh_from_db()
    relay.send_signal(signal.SIGTERM)
    assert relay.communicate(timeout=20)[0] == "The relay has ended.\n"
    assert relay.returncode == 0
    assert job.state == "succeeded"
