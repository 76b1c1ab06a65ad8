"""The steps that every worker gets."""

import threading

import pytest

from async_accept.worker.bootsteps import RunRelay
from tests.celery import app

pytestmark = pytest.mark.django_db(transaction=True)


def relays() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "async_accept relay"]


@pytest.mark.parametrize("shutdown", ["stop", "terminate"])
def test_no_relay_outlives_its_worker(shutdown):
    """Celery stops the steps of a warm shutdown, and terminates those of a cold one."""
    worker = app.WorkController(pool="solo")
    [step] = [step for step in worker.steps if isinstance(step, RunRelay)]
    before = relays()

    step.start(worker)
    assert len(relays()) == len(before) + 1
    getattr(step, shutdown)(worker)

    assert relays() == before
