"""Tasks for each way in which a job can end."""

from typing import Any

from celery import shared_task
from celery.exceptions import Retry

from async_accept.exceptions import JobFailed
from async_accept.progress import checkpoint, report, track
from async_accept.tasks import JobTask

from .models import Note


@shared_task(base=JobTask)
def add(x: int, y: int) -> int:
    return x + y


@shared_task(base=JobTask)
def echo(**kwargs: Any) -> dict[str, Any]:
    return kwargs


@shared_task(base=JobTask)
def describe(**kwargs: Any) -> dict[str, Any]:
    return {name: repr(value) for name, value in kwargs.items()}


@shared_task(base=JobTask)
def refuse(detail: str = "No.", code: str = "refused", status: int = 422) -> None:
    raise JobFailed(detail, code=code, status=status)


@shared_task(base=JobTask)
def crash(message: str = "secret") -> None:
    raise RuntimeError(message)


@shared_task(base=JobTask, bind=True, max_retries=3)
def flaky(self: JobTask, failures: int) -> int:
    """Succeed after this many retries, and return their number."""
    if self.request.retries < failures:
        raise self.retry(countdown=60)
    return self.request.retries


@shared_task(base=JobTask, autoretry_for=(ValueError,), max_retries=2, retry_backoff=True)
def autoretry(error: str = "again") -> None:
    raise ValueError(error)


@shared_task(base=JobTask)
def retry_by_hand() -> None:
    raise Retry(when=30)


@shared_task(base=JobTask, atomic=True, retry_when_lost=True)
def write_note(slug: str, then: str = "return") -> Any:
    """Write a note in the transaction of the job, then end as *then* says."""
    Note.objects.create(slug=slug, title=slug)
    if then == "crash":
        raise RuntimeError("after the write")
    if then == "unencodable":
        return object()
    return {"slug": slug}


@shared_task(base=JobTask)
def count(to: int) -> int:
    for _ in track(range(to), "Counting"):
        pass
    return to


@shared_task(base=JobTask)
def stop_me() -> None:
    report(1, 2, "half")
    checkpoint()
