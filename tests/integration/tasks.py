"""Tasks for a real worker; the settings route them to queues of this run's own."""

import asyncio
import time
from collections.abc import AsyncIterator

from celery import shared_task
from django.conf import settings

from async_accept.progress import checkpoint, track
from async_accept.tasks import JobTask
from tests.testapp.models import Note

QUEUE = settings.INTEGRATION_QUEUE

REFUSED = f"{QUEUE}-refused"


@shared_task(base=JobTask)
def refused() -> None:
    """The broker refuses to declare its queue."""


@shared_task(base=JobTask, atomic=True, retry_when_lost=True)
def take_note(slug: str, seconds: float = 0) -> dict[str, str]:
    """Write a note, take some time, and commit both with the result."""
    Note.objects.create(slug=slug, title=slug)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        checkpoint()
        time.sleep(0.05)
    return {"slug": slug}


@shared_task(base=JobTask)
def read_stream(count: int) -> None:
    """Read a stream asynchronously; it never gets to the end in a test's time."""

    async def items() -> AsyncIterator[int]:
        for item in range(count):
            await asyncio.sleep(0.05)
            yield item

    async def work() -> None:
        async for _ in track(items(), "Reading", total=count):
            pass

    asyncio.run(work())
