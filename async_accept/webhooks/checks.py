"""System checks of the app."""

from importlib.util import find_spec
from typing import Any

from celery import current_app
from django.conf import settings
from django.core import checks
from django.db import router

from ..checks.messages import TAG, error, warning
from ..conf import conf
from ..models import database
from .models import Delivery, Endpoint

__all__ = ["check_webhooks", "has_packages"]

#: What the extra brings.
PACKAGES = ("standardwebhooks", "requests_hardened")


def has_packages() -> bool:
    """Whether the packages of the extra are installed."""
    return all(map(find_spec, PACKAGES))


@checks.register(TAG)
def check_webhooks(**kwargs: Any) -> list[checks.CheckMessage]:
    """E014: no extra. E015: other database than that of jobs. E016: no queue. W017: receivers on this machine."""
    found: list[checks.CheckMessage] = []
    if not has_packages():
        message = "async_accept.webhooks needs packages that are not installed, so no notice could be sent."
        found.append(error(14, message, 'pip install "django-async-accept[webhooks]"'))
    if {router.db_for_write(Delivery), router.db_for_write(Endpoint)} != {database()}:
        message = "Jobs and webhooks are in different databases, so a notice could not commit with its job."
        found.append(error(15, message, "Let the database router send async_accept_webhooks to the jobs."))
    app: Any = current_app
    if not app.conf.task_create_missing_queues and conf.WEBHOOK_QUEUE not in app.amqp.queues:
        message = f"No queue is named {conf.WEBHOOK_QUEUE}, and task_create_missing_queues is off: no notice leaves."
        found.append(
            error(16, message, "Add it to CELERY_TASK_QUEUES, or name one of those as WEBHOOK_QUEUE.")
        )
    if conf.WEBHOOK_ALLOW_LOOPBACK and not settings.DEBUG:
        message = "WEBHOOK_ALLOW_LOOPBACK lets every owner send requests to services on this machine."
        found.append(warning(17, message, '"WEBHOOK_ALLOW_LOOPBACK": False,'))
    return found
