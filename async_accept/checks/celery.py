"""Checks of Celery's settings: jobs run, and their results are kept for as long as promised."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from celery import current_app
from django.conf import settings
from django.core import checks, mail
from django.db import connections

from ..conf import conf
from ..models import database
from ..tasks import JobTask
from .messages import TAG, warning
from .settings import written

__all__ = ["check_celery", "check_reconnects"]


@checks.register(TAG)
def check_celery(**kwargs: Any) -> list[checks.CheckMessage]:
    """W001, W002, W004, W006, W007, W014: options that break or cost something. W009: no app."""
    app: Any = current_app
    if app.main == "default" and not app.configured:
        return [
            warning(
                9,
                "No Celery app is loaded with Django, so messages would go to a broker on localhost.",
                "In your project's __init__.py: from .celery import app as celery_app",
            )
        ]
    return [*_check_options(app), *_check_tasks(app)]


@checks.register(TAG, deploy=True)
def check_reconnects(**kwargs: Any) -> list[checks.CheckMessage]:
    """I001: a faster option; for ``check --deploy`` only."""
    app: Any = current_app
    connection = connections[database()]
    is_kept = app.conf.get("db_reuse_max") or connection.settings_dict["CONN_MAX_AGE"] != 0
    if is_kept or connection.vendor == "sqlite":
        return []
    has_pool = "pool" in connection.settings_dict["OPTIONS"]
    return [
        checks.Info(
            "Celery closes the database connection before and after each task, which costs more than most jobs.",
            hint="CELERY_DB_REUSE_MAX = 1000"
            if has_pool
            else '"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True,',
            id="async_accept.I001",
        )
    ]


def _check_options(app: Any) -> Iterator[checks.CheckMessage]:
    expires = app.conf.result_expires
    life = timedelta(seconds=expires) if isinstance(expires, int | float) else expires
    in_database = str(app.conf.result_backend or "").startswith(("django-db", "django_celery_results"))
    if in_database and life and life < conf.RESULT_LIFETIME:
        yield warning(
            1,
            f"celery deletes results after {life} (result_expires), but clients were promised "
            f"{conf.RESULT_LIFETIME} (RESULT_LIFETIME).",
            f"CELERY_RESULT_EXPIRES = {written(conf.RESULT_LIFETIME)}",
        )
    testing = hasattr(mail, "outbox")  # Django's own mark of a test run
    if app.conf.task_always_eager and not settings.DEBUG and not testing:
        yield warning(
            2,
            "task_always_eager is on: every job runs inside the request that asks for it.",
            "CELERY_TASK_ALWAYS_EAGER = False",
        )
    names = {
        "accept_content": app.conf.accept_content,
        "task_serializer": [app.conf.task_serializer],
        "result_serializer": [app.conf.result_serializer],
    }
    for name, formats in names.items():
        if {"pickle", "application/x-python-serialize"} & set(formats or ()):
            yield warning(
                4,
                f"{name} allows pickle: whoever can write to the broker can run code in your workers.",
                f"CELERY_{name.upper()} = " + ('["json"]' if name == "accept_content" else '"json"'),
            )


def _check_tasks(app: Any) -> Iterator[checks.CheckMessage]:
    urls = app.conf.broker_url or ""
    first = urls.split(";")[0] if isinstance(urls, str) else next(iter(urls), "")
    transport = str(first).split(":", 1)[0]
    visible = (app.conf.broker_transport_options or {}).get("visibility_timeout", 3600)
    for name, task in sorted(app.tasks.items()):
        if not isinstance(task, JobTask):
            continue
        if ours := type(task).overridden:
            yield warning(
                14,
                f"{name} has its own {', '.join(ours)}, without effect: a job's outcome is kept by async_accept, and "
                "that of a call without a job by the result backend of the app.",
                f"Remove {', '.join(ours)} from the task, its base class or CELERY_TASK_ANNOTATIONS.",
            )
        if not task.acks_late:
            continue
        if task.reject_on_worker_lost:
            yield warning(
                6,
                f"{name} gives its message back to the broker if its worker is lost (reject_on_worker_lost). A call "
                "without a job that kills its worker then kills one worker after the other. Jobs are not affected.",
                f"@shared_task(base=JobTask, reject_on_worker_lost=False)  # {name}",
            )
        limit = task.time_limit or app.conf.task_time_limit or task.soft_time_limit
        if transport in ("redis", "rediss", "sentinel") and limit and limit > visible:
            yield warning(
                7,
                f"{name} may run for {limit} s, but Redis delivers its message again after {visible} s "
                "(visibility_timeout): a call without a job then runs twice. Jobs are not affected.",
                f'CELERY_BROKER_TRANSPORT_OPTIONS = {{"visibility_timeout": {int(limit * 2)}}}',
            )
