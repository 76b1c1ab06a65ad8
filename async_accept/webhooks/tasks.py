"""The task that makes one attempt at a delivery. Its queue is ``WEBHOOK_QUEUE``."""

from celery import Task, shared_task

from .delivering import deliver
from .publishing import TASK

__all__ = ["deliver_task"]


# Never retried by Celery: the next attempt is a time in our row.
@shared_task(base=Task, name=TASK, ignore_result=True, max_retries=0, autoretry_for=())
def deliver_task(pk: str) -> None:
    """Make one attempt at the delivery with this id."""
    deliver(pk)
