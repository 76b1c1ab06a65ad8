"""Work for a real worker, in a queue of this run's own: the broker may be somebody's, too."""

import os
import time
from pathlib import Path

from celery import shared_task

from async_accept.progress import checkpoint
from async_accept.tasks import JobTask
from tests.testapp.models import Note

QUEUE = f"integration-{Path(os.environ['ASYNC_ACCEPT_TEST_DIR']).name}"


REFUSED = f"{QUEUE}-refused"


@shared_task(base=JobTask, queue=REFUSED)
def refused() -> None:
    """Its queue is one that the broker does not let anybody declare."""


@shared_task(base=JobTask, atomic=True, retry_when_lost=True, queue=QUEUE)
def take_note(slug: str, seconds: float = 0) -> dict[str, str]:
    """Write a note and take some time, in one transaction with the outcome."""
    Note.objects.create(slug=slug, title=slug)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        checkpoint()
        time.sleep(0.05)
    return {"slug": slug}
