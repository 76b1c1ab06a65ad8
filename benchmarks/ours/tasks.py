from typing import Any

from celery import shared_task

from async_accept.tasks import JobTask

from ..orders import summary


@shared_task(base=JobTask)
def process(lines: list[dict[str, Any]], **order: Any) -> dict[str, Any]:
    return summary(lines)


@shared_task(base=JobTask, atomic=True)
def process_atomic(lines: list[dict[str, Any]], **order: Any) -> dict[str, Any]:
    return summary(lines)
