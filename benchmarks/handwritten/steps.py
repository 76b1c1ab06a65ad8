"""What the benchmarks do in a process of this project."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.db.models import Count, Max, Min, Q

from ..common import accept_statements, client, document, post, prepare, purge, statements_of, truncate
from ..orders import BODY, OrderSerializer
from ..profiling import Step, answers, profile_of
from . import relay as relaying
from .models import Job, Outbox
from .tasks import process

__all__ = [
    "accept_statements",
    "due",
    "fill",
    "left",
    "paths",
    "poll_statements",
    "prepare",
    "profile",
    "purge",
    "relay",
    "span",
    "update_state",
]


def paths(count: int) -> list[list[str]]:
    """Accept so many jobs, and return the path of each, with no entity tag."""
    return [[urlsplit(document(post())["url"]).path, ""] for _ in range(count)]


def poll_statements() -> list[str]:
    [[path, _]] = paths(1)
    return statements_of(lambda: client().get(path))


def profile(name: str, calls: int) -> list[list[Any]]:
    """Return which functions a step calls; the names are those of ours."""
    [[path, _]], asking = paths(1), client()
    steps = {
        "accept": Step(lambda _: post(), answers(202)),
        "poll": Step(lambda _: asking.get(path), answers(200)),
        "claim and finish": Step(
            lambda pk: process.apply(args=[pk], task_id=pk),
            lambda pk, _: Job.objects.get(pk=pk).state == Job.State.SUCCEEDED,
            lambda: document(post())["id"],
        ),
    }
    return profile_of(steps[name], calls)


def _jobs(count: int) -> list[Job]:
    truncate(Outbox, Job)
    owner = get_user_model()._default_manager.first()
    serializer = OrderSerializer(data=json.loads(BODY))
    serializer.is_valid(raise_exception=True)
    return Job.objects.bulk_create(
        [Job(owner=owner, input=serializer.validated_data) for _ in range(count)], batch_size=1000
    )


def fill(count: int) -> None:
    """Publish so many jobs for the worker."""
    for job in _jobs(count):
        process.apply_async(args=[str(job.pk)], task_id=str(job.pk))


def left() -> int:
    return Job.objects.filter(finished_at=None).count()


def span() -> dict[str, Any]:
    """Return how many jobs have ended well, and the seconds from the first start to the last end."""
    found = Job.objects.aggregate(
        began=Min("started_at"),
        ended=Max("finished_at"),
        count=Count("pk", filter=Q(state=Job.State.SUCCEEDED)),
    )
    return {"count": found["count"], "seconds": (found["ended"] - found["began"]).total_seconds()}


def due(count: int) -> None:
    """Put so many jobs into the outbox."""
    Outbox.objects.bulk_create([Outbox(job=job) for job in _jobs(count)])


def relay() -> dict[str, Any]:
    """Send all that is in the outbox, and return what that took."""
    count = Outbox.objects.count()
    began, cpu = time.perf_counter(), time.process_time()
    relaying.relay()
    return {"count": count, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def update_state(count: int) -> float:
    """Return how many seconds Celery's own way to show progress takes."""
    [job] = _jobs(1)
    meta = {"current": 1, "total": 100}
    began = time.perf_counter()
    for _ in range(count):
        process.update_state(task_id=str(job.pk), state="PROGRESS", meta=meta)
    return (time.perf_counter() - began) / count
