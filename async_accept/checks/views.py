"""Checks of the views in the URLconf: their tasks can run jobs, their mixins work, and clients may poll."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from celery import Task, current_app
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.fields import empty
from rest_framework.generics import GenericAPIView
from rest_framework.serializers import Serializer
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from ..decorators import decorated, no_request
from ..http.options import AcceptOptions
from ..jobs.arguments import check_arguments
from ..jobs.operations import check_operation
from ..jobs.publish import message_options
from ..mixins import AcceptingView
from ..receivers import Receiver
from ..tasks import JobTask
from .messages import TAG, error, warning

__all__ = ["Routed", "check_views", "queues_of_views", "routed_views"]


#: The options of a view that go with its jobs' messages.
MESSAGE_OPTIONS = ("queue", "priority", "time_limit", "soft_time_limit")


class Routed(NamedTuple):
    """A view's class in the URLconf, with the arguments of its ``as_view()``."""

    view: Any
    options: dict[str, Any]
    #: The names of the handlers by HTTP method, if a router or ``as_view()`` chose them.
    actions: dict[str, str] | None = None


class Sent(NamedTuple):
    """What a view, or a handler with ``@accepts``, says of its jobs' messages, and where."""

    options: dict[str, Any]
    place: str
    view: type


class NamedTask(NamedTuple):
    """A task that a view names to do its work, and the place where it does so."""

    task: Any
    place: str
    view: Any


@checks.register(TAG)
def check_views(**kwargs: Any) -> list[checks.CheckMessage]:
    """E005, E006: a view's task is no ``JobTask``. E008: a mixin without effect. E009: messages that cannot be sent.

    E010: ``@accepts`` on a view of Django's. E011: a task that does not take what the view's serializer gives.
    E017: an operation whose name cannot be stored. W005: a throttle that stops polls.
    """
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    found: list[checks.CheckMessage] = []
    routed = list(routed_views(get_resolver().url_patterns))
    # Once for each place, however many routes lead to it.
    places: dict[tuple[int, str], NamedTask] = {}
    for named in (named for route in routed for named in _named_tasks(route)):
        places.setdefault((id(named.task), named.place), named)
    for named in places.values():
        found.extend(_check_task(named))
        found.extend(_check_arguments(named))
    for sent in {sent.place: sent for route in routed for sent in _sent(route)}.values():
        found.extend(_check_message(sent))
    for place, (own, view) in {
        place: (own, route.view) for route in routed for place, own in _settings(route)
    }.items():
        if isinstance(operation := own.get("operation"), str):
            found.extend(_check_operation(operation, place, view))
    handlers = {id(handler): handler for handler in _of_django(get_resolver().url_patterns)}
    for handler in handlers.values():
        hint = "REST framework's views have what a replay needs: parsers, renderers and permissions."
        found.append(error(10, no_request(handler), hint, handler))
    views = {route.view for route in routed}
    for view in views:
        found.extend(_check_throttles(view))
    # Once for the class that has the wrong order, however many classes extend it.
    for view in {base for view in views if (base := _disordered(view)) is not None}:
        found.append(_order_error(view))
    return found


def routed_views(patterns: Any) -> Iterator[Routed]:
    """Yield every view that is a class, for each of its routes below *patterns*."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from routed_views(pattern.url_patterns)
        elif isinstance(pattern, URLPattern):
            view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
            if view is not None:
                options = getattr(pattern.callback, "initkwargs", None) or getattr(
                    pattern.callback, "view_initkwargs", {}
                )
                yield Routed(view, options, getattr(pattern.callback, "actions", None))


def queues_of_views() -> Iterator[tuple[str, str]]:
    """Yield each queue that a view in the URLconf names for its jobs, and the place where it does so."""
    if getattr(settings, "ROOT_URLCONF", None):
        routes = routed_views(get_resolver().url_patterns)
        for sent in {sent.place: sent for route in routes for sent in _sent(route)}.values():
            if queue := sent.options["queue"]:
                yield queue, sent.place


def _sent(route: Routed) -> Iterator[Sent]:
    """Yield what *route* says of its jobs' messages, for the view and for each of its handlers that says something."""
    of_view = {name: _option(route, name) for name in MESSAGE_OPTIONS}
    for place, own in _settings(route):
        if any(name in own for name in MESSAGE_OPTIONS):
            yield Sent({name: own.get(name, of_view[name]) for name in MESSAGE_OPTIONS}, place, route.view)


def _option(route: Routed, name: str) -> Any:
    return route.options.get(f"accept_{name}", getattr(route.view, f"accept_{name}", None))


def _settings(route: Routed) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each place of *route* that sets options, the view and its handlers with ``@accepts``, and what it sets."""
    if issubclass(route.view, AcceptingView | Receiver):
        of_view = {name: _option(route, name) for name in (*MESSAGE_OPTIONS, "operation")}
        own = {name: value for name, value in of_view.items() if value is not None}
        yield f"{route.view.__module__}.{route.view.__qualname__}", own
    for _, handler in inspect.getmembers(route.view, inspect.isfunction):
        found = decorated(handler)
        if found is not None:
            yield f"{found.__module__}.{found.__qualname__}", found.accept_options


def _check_operation(operation: str, place: str, view: type) -> Iterator[checks.CheckMessage]:
    try:
        check_operation(operation, place)
    except ImproperlyConfigured as wrong:
        yield error(17, str(wrong), 'accept_operation = "orders.create"', view)


def _check_message(sent: Sent) -> Iterator[checks.CheckMessage]:
    try:
        options = message_options(**sent.options)
    except ImproperlyConfigured as wrong:
        yield error(
            9, f"{sent.place}: accept_{wrong}", "accept_queue, accept_priority, accept_time_limit", sent.view
        )
        return
    app: Any = current_app
    queue = (options or {}).get("queue")
    if queue and not app.conf.task_create_missing_queues and queue not in app.amqp.queues:
        yield error(
            9,
            f'{sent.place} sends its jobs to the queue "{queue}", which is not in task_queues, and '
            "task_create_missing_queues is off.",
            f'CELERY_TASK_QUEUES = [..., Queue("{queue}")]',
            sent.view,
        )


def _of_django(patterns: Any) -> Iterator[Any]:
    """Yield the handlers with ``@accepts`` that no view of REST framework's calls."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _of_django(pattern.url_patterns)
        elif isinstance(pattern, URLPattern) and not hasattr(pattern.callback, "cls"):
            view = getattr(pattern.callback, "view_class", None)
            members = (
                [] if view is None else [member for _, member in inspect.getmembers(view, inspect.isfunction)]
            )
            yield from (each for each in [pattern.callback, *members] if hasattr(each, "accept_options"))


def _named_tasks(route: Routed) -> Iterator[NamedTask]:
    view = route.view
    task = route.options.get("accept_task", getattr(view, "accept_task", None))
    if task is not None:
        yield NamedTask(task, f"{view.__module__}.{view.__qualname__}.accept_task", view)
    for _, handler in inspect.getmembers(view, inspect.isfunction):
        found = decorated(handler)
        if found is not None and "task" in found.accept_options:
            place = f"@accepts_task on {found.__module__}.{found.__qualname__}"
            yield NamedTask(found.accept_options["task"], place, view)


def _check_task(named: NamedTask) -> Iterator[checks.CheckMessage]:
    task = named.task
    name = getattr(task, "__name__", None) or repr(task)
    if not isinstance(task, Task):
        hint = f"Put @shared_task(base=JobTask) above {name}; from async_accept.tasks import JobTask"
        yield error(5, f"{named.place} is {task!r}, which is not a Celery task.", hint, named.view)
    elif not isinstance(task, JobTask):
        hint = f"@shared_task(base=JobTask) above {name}; from async_accept.tasks import JobTask"
        yield error(
            6,
            f"{named.place} is {task.name}, which is not a JobTask: its jobs would never end.",
            hint,
            named.view,
        )


def _check_arguments(named: NamedTask) -> Iterator[checks.CheckMessage]:
    """Compare the view's serializer with the arguments of its task, as far as both are known without a request."""
    serializer = None if named.place.startswith("@") else _serializer(named.view)
    fields = _fields(serializer)
    if fields is None or not isinstance(named.task, JobTask):
        return
    always = [name for name, field in fields.items() if field.required or field.default is not empty]
    for given in (fields, always):  # every field may come, and those alone that always come must be enough
        try:
            check_arguments(named.task, dict.fromkeys(given))
        except TypeError as wrong:
            yield error(
                11,
                f"{named.place} is {named.task.name}, which does not take what "
                f"{named.view.serializer_class.__name__} gives: {wrong}.",
                "Give the task the arguments that the serializer has, and defaults for what may be absent; or override "
                "get_accept_input().",
                named.view,
            )
            return


def _serializer(view: Any) -> Any:
    """Return the class that validates what comes to *view*; None if only a request can tell."""
    if not issubclass(view, AcceptingView) or not issubclass(view, GenericAPIView):
        return None
    accepts = (AcceptOptions, ("get_accept_input", "validate_accept"))
    generic = (GenericAPIView, ("get_serializer_class", "get_serializer"))
    creates = hasattr(view, "create") or hasattr(view, "post")
    return view.serializer_class if creates and _are_plain(view, accepts, generic) else None


def _fields(serializer: Any) -> dict[str, Any] | None:
    """Return what *serializer* validates, by the names in ``validated_data``; None if only a request can tell."""
    if not isinstance(serializer, type) or not issubclass(serializer, Serializer):
        return None
    if not _are_plain(
        serializer, (Serializer, ("to_internal_value", "run_validation", "validate", "validated_data"))
    ):
        return None
    try:
        fields = [field for field in serializer().fields.values() if not field.read_only]
    except Exception:  # they are the project's own code, and may need a request
        return None
    return None if any(field.source == "*" for field in fields) else {f.source_attrs[0]: f for f in fields}


def _are_plain(found: type, *members: tuple[type, tuple[str, ...]]) -> bool:
    """Whether the class overrides none of these members of its bases."""
    return all(getattr(found, name) is getattr(base, name) for base, names in members for name in names)


def _disordered(view: type) -> type | None:
    """Return the first class in *view*'s inheritance that names its accept mixin after REST framework's class."""
    for base in reversed(view.__mro__):
        order = base.__mro__
        if {AcceptingView, APIView} <= set(order) and order.index(APIView) < order.index(AcceptingView):
            return base
    return None


def _order_error(view: type) -> checks.CheckMessage:
    bases = sorted(view.__bases__, key=lambda base: not issubclass(base, AcceptingView))
    return error(
        8,
        f"{view.__qualname__} names its accept mixin after REST framework's class, so the mixin has no effect.",
        f"class {view.__name__}({', '.join(base.__name__ for base in bases)}):",
        view,
    )


def _check_throttles(view: type) -> Iterator[checks.CheckMessage]:
    from ..http.views import JobViewSet  # a process without a URLconf, such as a worker, does not need it

    if not issubclass(view, JobViewSet):
        return
    everywhere: Any = api_settings.DEFAULT_THROTTLE_CLASSES
    for throttle in view.throttle_classes:
        if throttle in everywhere:
            yield warning(
                5,
                f"{view.__qualname__} counts polls towards {throttle.__name__}, which limits the whole project: "
                "following one job can use up all that a caller may request.",
                "throttle_classes = (PollThrottle,)  # from async_accept.http.throttling import PollThrottle",
                view,
            )
