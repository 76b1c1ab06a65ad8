"""Checks of the views that accept."""

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

from celery import Task
from django.conf import settings
from django.core import checks
from django.urls import URLPattern, URLResolver, get_resolver

from ..decorators import decorated
from .messages import TAG, error, warning

__all__ = ["check_views"]


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
                place = f"@accepts_task on {found.__module__}.{found.__qualname__}"
                yield Accepted(found.accept_options["task"], place, view)


def _check_task(named: Accepted) -> Iterator[checks.CheckMessage]:
    from ..tasks import JobTask

    task = named.task
    name = getattr(task, "__name__", None) or repr(task)
    if not isinstance(task, Task):
        hint = f"Put @shared_task(base=JobTask) above {name}; from async_accept.tasks import JobTask"
        yield error(5, f"{named.place} is {task!r}, which is no Celery task.", hint, named.view)
    elif not isinstance(task, JobTask):
        hint = f"@shared_task(base=JobTask) above {name}; from async_accept.tasks import JobTask"
        yield error(
            6,
            f"{named.place} is {task.name}, which is no JobTask: its jobs would never end.",
            hint,
            named.view,
        )


def _disordered(view: type) -> type | None:
    """Return the first base of *view*, or itself, that has its mixin behind REST framework's class."""
    from rest_framework.views import APIView

    from ..mixins import AcceptingView

    for base in reversed(view.__mro__):
        order = base.__mro__
        if {AcceptingView, APIView} <= set(order) and order.index(APIView) < order.index(AcceptingView):
            return base
    return None


def _order_error(view: type) -> checks.CheckMessage:
    from ..mixins import AcceptingView

    bases = sorted(view.__bases__, key=lambda base: not issubclass(base, AcceptingView))
    return error(
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
            yield warning(
                5,
                f"{view.__qualname__} counts polls towards {throttle.__name__}, which is for the whole project: "
                "following one job can use up a caller's allowance.",
                "throttle_classes = (PollThrottle,)  # from async_accept.http.throttling import PollThrottle",
                view,
            )
