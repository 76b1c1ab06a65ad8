"""What the benchmark of notices does in a process of this project."""

import time
from datetime import timedelta

from celery import current_app
from django.contrib.auth import get_user_model
from django.db import connection

from async_accept.conf import conf
from async_accept.db.functions import from_now
from async_accept.models import Job
from async_accept.webhooks.models import Delivery, Endpoint, Host

from ..common import prepare

__all__ = ["begin", "prepare", "tell"]


def begin(urls: dict[str, str]) -> None:
    """Forget all that was before, and register an endpoint for an owner of each name."""
    with connection.cursor() as cursor:
        tables = ", ".join(f'"{model._meta.db_table}"' for model in (Delivery, Endpoint, Host, Job))
        cursor.execute(f"TRUNCATE {tables}")
    for name, url in urls.items():
        owner, _ = get_user_model()._default_manager.get_or_create(username=name)
        Endpoint.objects.create(owner=owner, url=url)
    with current_app.connection_for_write() as broker:
        broker.default_channel.queue_declare(conf.WEBHOOK_QUEUE, durable=True, auto_delete=False)
        broker.default_channel.queue_purge(conf.WEBHOOK_QUEUE)


def tell(plan: list[tuple[float, str]]) -> dict[str, float]:
    """End jobs of these owners at these seconds from now; return when each was about to end, as Unix time.

    A job that waits ends when it is canceled, without any worker.
    """
    owners = {owner.get_username(): owner for owner in get_user_model()._default_manager.all()}
    later, began, moments = from_now(timedelta(hours=1)), time.monotonic(), {}
    for second, name in sorted(plan):
        time.sleep(max(second - (time.monotonic() - began), 0))
        job = Job.objects.create(
            operation="orders.create", task="none", owner=owners[name], dispatch_at=later
        )
        moments[str(job.pk)] = time.time()
        job.cancel()
    return moments
