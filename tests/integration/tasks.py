"""Tasks for a real worker. Their queue is this run's own, because others may use the same broker."""

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
    """The broker refuses to declare its queue."""


@shared_task(base=JobTask, atomic=True, retry_when_lost=True, queue=QUEUE)
def take_note(slug: str, seconds: float = 0) -> dict[str, str]:
    """Write a note, take some time, and commit both with the result."""
    Note.objects.create(slug=slug, title=slug)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        checkpoint()
        time.sleep(0.05)
    return {"slug": slug}
