"""System checks: every mistake of the set-up is found before the first request, with the line that mends it.

The ids are stable. Errors keep the promise of a 202 from being kept, warnings make it dearer or shorter than it should
be, and the one note makes it faster. What needs a server to answer is asked by ``manage.py async_accept doctor``.
"""

import inspect
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from celery import Task, current_app
from django.conf import settings
from django.core import checks, mail
from django.db import connections, router
from django.urls import URLPattern, URLResolver, get_resolver

from ..conf import conf
from ..http.urlconf import decorated, mounts
from . import validity

__all__ = ["TAG", "check_celery", "check_databases", "check_settings", "check_urls", "check_views"]

#: ``manage.py check --tag async_accept``
TAG = "async_accept"


def _error(number: int, message: str, hint: str, obj: Any = None) -> checks.Error:
    return checks.Error(message, hint=hint, obj=obj, id=f"async_accept.E{number:03}")


def _warning(number: int, message: str, hint: str, obj: Any = None) -> checks.Warning:
    return checks.Warning(message, hint=hint, obj=obj, id=f"async_accept.W{number:03}")


# --- Settings -------------------------------------------------------------------------------------------


@checks.register(TAG)
def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """E002: an unknown key. E004: a value that makes no sense."""
    if not isinstance(getattr(settings, "ASYNC_ACCEPT", {}), dict):
        return [
            _error(2, "ASYNC_ACCEPT is no dict.", 'ASYNC_ACCEPT = {"RESULT_LIFETIME": timedelta(days=1)}')
        ]
    return [
        *(_error(2, found.message, found.hint) for found in validity.unknown_names()),
        *(_error(4, found.message, found.hint) for found in validity.complaints()),
    ]


# --- URLs and views -----------------------------------------------------------------------------------------


@checks.register(TAG)
def check_urls(**kwargs: Any) -> list[checks.CheckMessage]:
    """E003: the URLs that every 202 names are not there, or below what nobody can fill in."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    found = list(mounts(get_resolver().url_patterns))
    if any(mount.is_reached for mount in found):
        return []
    hint = f'Add to {settings.ROOT_URLCONF}: path("api/jobs/", include("async_accept.urls")),'
    if not found:
        return [_error(3, "The URLs of jobs are not mounted, so no 202 could be followed.", hint)]
    first = found[0]
    below = ", ".join([*first.namespaces, *sorted(first.parameters)])
    message = f"The URLs of jobs are mounted below {below}, and no versioning of theirs fills that in."
    if first.wanted:
        hint = f'"DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.{first.wanted}",'
    return [_error(3, message, hint)]


class Accepted(NamedTuple):
    """Where a task is named that shall do a view's work."""

    task: Any
    place: str
    view: type


@checks.register(TAG)
def check_views(**kwargs: Any) -> list[checks.CheckMessage]:
    """E005, E006: ``accept_task`` is no ``JobTask``. E008: a mixin stands in vain. W005: a throttle stops polls."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    found: list[checks.CheckMessage] = []
    views = list(_views(get_resolver().url_patterns))
    seen: set[tuple[int, str]] = set()
    for named in _accepted(views):
        key = (id(named.task), named.place)
        if key not in seen:
            seen.add(key)
            found.extend(_check_task(named))
    known = {view for view, _ in views}
    for view in known:
        found.extend(_check_throttles(view))
    # A view that was written wrong is told once, however many extend it.
    for view in {base for view in known if (base := _disordered(view)) is not None}:
        found.append(_order_error(view))
    return found


def _views(patterns: Any) -> Iterator[tuple[type, dict[str, Any]]]:
    """Yield each view's class in the URLconf, with the arguments of its ``as_view()``."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _views(pattern.url_patterns)
        elif isinstance(pattern, URLPattern):
            view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
            if view is not None:
                options = getattr(pattern.callback, "initkwargs", None) or getattr(
                    pattern.callback, "view_initkwargs", {}
                )
                yield view, options


def _accepted(views: list[tuple[type, dict[str, Any]]]) -> Iterator[Accepted]:
    for view, options in views:
        task = options.get("accept_task", getattr(view, "accept_task", None))
        if task is not None:
            yield Accepted(task, f"{view.__module__}.{view.__qualname__}.accept_task", view)
        for _, handler in inspect.getmembers(view, inspect.isfunction):
            found = decorated(handler)
            if found is not None and "task" in found.accept_options:
                place = f"@accepts(task=…) on {found.__module__}.{found.__qualname__}"
                yield Accepted(found.accept_options["task"], place, view)


def _check_task(named: Accepted) -> Iterator[checks.CheckMessage]:
    from ..tasks import JobTask

    task = named.task
    name = getattr(task, "__name__", None) or repr(task)
    if not isinstance(task, Task):
        hint = f"Put @shared_task(base=JobTask) above {name}; from async_accept.tasks import JobTask"
        yield _error(5, f"{named.place} is {task!r}, which is no Celery task.", hint, named.view)
    elif not isinstance(task, JobTask):
        hint = f"@shared_task(base=JobTask) above {name}; from async_accept.tasks import JobTask"
        yield _error(
            6,
            f"{named.place} is {task.name}, which is no JobTask: its jobs would never end.",
            hint,
            named.view,
        )


def _disordered(view: type) -> type | None:
    """Return the first base of *view*, or itself, that has its mixin behind REST framework's class."""
    from rest_framework.views import APIView

    from ..http.accept import Accepting

    for base in reversed(view.__mro__):
        order = base.__mro__
        if {Accepting, APIView} <= set(order) and order.index(APIView) < order.index(Accepting):
            return base
    return None


def _order_error(view: type) -> checks.CheckMessage:
    from ..http.accept import Accepting

    bases = sorted(view.__bases__, key=lambda base: not issubclass(base, Accepting))
    return _error(
        8,
        f"{view.__qualname__} has its accept mixin behind REST framework's class, which hides it.",
        f"class {view.__name__}({', '.join(base.__name__ for base in bases)}):",
        view,
    )


def _check_throttles(view: type) -> Iterator[checks.CheckMessage]:
    from rest_framework.settings import api_settings

    from ..http.views import JobViewSet

    if not issubclass(view, JobViewSet):
        return
    everywhere: Any = api_settings.DEFAULT_THROTTLE_CLASSES
    for throttle in view.throttle_classes:
        if throttle in everywhere:
            yield _warning(
                5,
                f"{view.__qualname__} counts polls towards {throttle.__name__}, which is for the whole project: "
                "following one job can use up a caller's allowance.",
                "throttle_classes = (PollThrottle,)  # from async_accept.http.throttling import PollThrottle",
                view,
            )


# --- Databases --------------------------------------------------------------------------------------------------


@checks.register(TAG)
def check_databases(**kwargs: Any) -> list[checks.CheckMessage]:
    """E007: jobs and results apart. W003: SQLite as nobody can write to it. W008: no time zone. W010: isolation.

    I002: what fails outside of a view.
    """
    from django_celery_results.models import TaskResult

    from ..models import Job

    alias, results = router.db_for_write(Job), router.db_for_write(TaskResult)
    found: list[checks.CheckMessage] = []
    if alias != results:
        found.append(
            _error(
                7,
                f'Jobs are in the database "{alias}" and celery\'s results in "{results}": they cannot be written '
                "in one transaction.",
                f"Let DATABASE_ROUTERS send django_celery_results to {alias!r} as well.",
            )
        )
    vendor = connections[alias].vendor
    if vendor == "sqlite":
        found.extend(_check_sqlite(alias))
    if not settings.USE_TZ and vendor in ("sqlite", "mysql") and settings.TIME_ZONE != "UTC":
        found.append(
            _warning(
                8,
                f"USE_TZ is off, so {vendor} keeps times of {settings.TIME_ZONE}, and its clock cannot be compared "
                "with them: jobs are rung for and swept too early or too late.",
                "USE_TZ = True",
            )
        )
    found.extend(_check_isolation(alias, vendor))
    found.extend(_check_atomic_requests())
    return found


def _check_atomic_requests() -> Iterator[checks.CheckMessage]:
    middleware = "async_accept.middleware.UnavailableMiddleware"
    atomic = [alias for alias in connections if connections[alias].settings_dict.get("ATOMIC_REQUESTS")]
    if atomic and middleware not in settings.MIDDLEWARE:
        yield checks.Info(
            f'ATOMIC_REQUESTS is on for "{atomic[0]}": while the database is away, its transaction fails outside of '
            "an accepting view, which could answer 503, and the client gets a 500.",
            hint=f'MIDDLEWARE += ["{middleware}"]',
            id="async_accept.I002",
        )


def _check_isolation(alias: str, vendor: str) -> Iterator[checks.CheckMessage]:
    options = connections[alias].settings_dict.get("OPTIONS", {})
    hint = '"isolation_level": "read committed",'
    if vendor == "postgresql" and "isolation_level" in options:
        from django.db.backends.postgresql.psycopg_any import IsolationLevel

        level = IsolationLevel(options["isolation_level"]).name.lower().replace("_", " ")
        hint = '"isolation_level": IsolationLevel.READ_COMMITTED,'
    elif vendor == "mysql":
        level = options.get("isolation_level", "read committed") or "the server's own isolation level"
    else:
        return
    if level.lower() != "read committed":
        yield _warning(
            10,
            f'The database "{alias}" runs at {level}: a transaction there does not see what was committed meanwhile, '
            "so atomic work that outlives a pulse may not commit, and a repeated key is not found in one.",
            hint,
        )


def _check_sqlite(alias: str) -> Iterator[checks.CheckMessage]:
    database = connections[alias].settings_dict
    name, options = str(database["NAME"]), database.get("OPTIONS", {})
    if name == ":memory:" or "mode=memory" in name:
        return
    lacking = []
    if "wal" not in str(options.get("init_command", "")).lower() and not _is_wal(name):
        lacking.append("journal_mode=WAL")
    if str(options.get("transaction_mode", "")).upper() != "IMMEDIATE":
        lacking.append("transaction_mode IMMEDIATE")
    if lacking:
        yield _warning(
            3,
            f'The SQLite database "{alias}" lacks {" and ".join(lacking)}: with a worker beside the web process, '
            'requests fail with "database is locked".',
            '"OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, '
            '"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"},',
        )


def _is_wal(path: str) -> bool:
    """Tell from the file's header (https://www.sqlite.org/fileformat.html) whether it keeps a write-ahead log."""
    try:
        with Path(path).open("rb") as file:
            return file.read(20)[18:] == b"\x02\x02"
    except OSError:
        return False


# --- Celery -------------------------------------------------------------------------------------------------------


@checks.register(TAG)
def check_celery(**kwargs: Any) -> list[checks.CheckMessage]:
    """W001, W002, W004, W006, W007, W009: what Celery is told. I001: what it could be told."""
    app: Any = current_app
    if app.main == "default" and not app.configured:
        return [
            _warning(
                9,
                "No Celery app is loaded with Django, so messages would go to a broker on localhost.",
                "In your project's __init__.py: from .celery import app as celery_app",
            )
        ]
    return [*_check_options(app), *_check_tasks(app)]


def _check_options(app: Any) -> Iterator[checks.CheckMessage]:
    expires = app.conf.result_expires
    life = timedelta(seconds=expires) if isinstance(expires, int | float) else expires
    in_database = str(app.conf.result_backend or "").startswith(("django-db", "django_celery_results"))
    if in_database and life and life < conf.RESULT_LIFETIME:
        yield _warning(
            1,
            f"celery deletes results after {life} (result_expires), and clients were promised "
            f"{conf.RESULT_LIFETIME} (RESULT_LIFETIME).",
            f"CELERY_RESULT_EXPIRES = {validity.written(conf.RESULT_LIFETIME)}",
        )
    testing = hasattr(mail, "outbox")  # Django's own mark of a test run
    if app.conf.task_always_eager and not settings.DEBUG and not testing:
        yield _warning(
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
            yield _warning(
                4,
                f"{name} allows pickle: whoever can write to the broker can run code in your workers.",
                f"CELERY_{name.upper()} = " + ('["json"]' if name == "accept_content" else '"json"'),
            )
    if not app.conf.get("db_reuse_max") and connections[_alias()].vendor != "sqlite":
        yield checks.Info(
            "Celery closes the database connection before and after each task, which costs more than most jobs.",
            hint="CELERY_DB_REUSE_MAX = 1000",
            id="async_accept.I001",
        )


def _alias() -> str:
    from ..models import Job

    return router.db_for_write(Job)


def _check_tasks(app: Any) -> Iterator[checks.CheckMessage]:
    from ..tasks import JobTask

    urls = app.conf.broker_url or ""
    first = urls.split(";")[0] if isinstance(urls, str) else next(iter(urls), "")
    transport = str(first).split(":", 1)[0]
    visible = (app.conf.broker_transport_options or {}).get("visibility_timeout", 3600)
    for name, task in sorted(app.tasks.items()):
        if not isinstance(task, JobTask) or not task.acks_late:
            continue
        if task.reject_on_worker_lost:
            yield _warning(
                6,
                f"{name} gives the message of a lost worker back to the broker (reject_on_worker_lost): called without "
                "a job, one that kills its worker does so for ever. Jobs are not concerned.",
                f"@shared_task(base=JobTask, reject_on_worker_lost=False)  # {name}",
            )
        limit = task.time_limit or app.conf.task_time_limit or task.soft_time_limit
        if transport in ("redis", "rediss", "sentinel") and limit and limit > visible:
            yield _warning(
                7,
                f"{name} may run for {limit} s, and Redis delivers its message again after {visible} s "
                "(visibility_timeout): called without a job, it runs twice. Jobs are not concerned.",
                f'CELERY_BROKER_TRANSPORT_OPTIONS = {{"visibility_timeout": {int(limit * 2)}}}',
            )
