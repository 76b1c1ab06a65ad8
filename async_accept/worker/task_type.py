"""The class of ``JobTask`` and of everything that extends it: what a project overrides cannot lose a job.

A project may override what Celery lets it override, with or without ``super()``. The claim comes before its
``before_start()``, and the attempt is around its ``__call__()``. What decides how an attempt ends is ours.
"""

import inspect
from collections.abc import Callable
from typing import Any

from celery import Task
from celery.contrib.django.task import DjangoTask

from ..exceptions import WorkEnded

__all__ = ["JobTaskType", "guard"]

#: What decides how an attempt ends. An override has no effect; check async_accept.W014 tells.
OURS = ("backend", "store_eager_result", "store_errors_even_if_ignored")


def guard(function: Any) -> Any:
    """Mark a method of ``JobTask`` that runs first, also if a project overrides it; the override runs inside of it."""
    function.guards_job = True
    return function


def _bound(given: Any, task: Any) -> Any:
    return given.__get__(task, type(task)) if hasattr(given, "__get__") else given


def _after_claim(given: Any) -> Any:
    @guard
    def before_start(self: Any, task_id: str, args: Any, kwargs: Any) -> None:
        with self.claimed(task_id, kwargs):
            _bound(given, self)(task_id, args, kwargs)

    return before_start


def _inside_attempt(given: Any) -> Any:
    @guard
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 it becomes the method of that name
        attempt = self.attempt_to_enter()
        return _bound(given, self)(*args, **kwargs) if attempt is None else self.perform(attempt)

    return __call__


#: What is put around an override.
GUARDS: dict[str, Callable[[Any], Any]] = {"before_start": _after_claim, "__call__": _inside_attempt}


class JobTaskType(type):
    """Puts the app's own task class behind ``JobTask``, as Celery does for a task without ``base``.

    Celery makes a class of each task function, and gives it its app; the app's ``task_cls`` is not known before.
    """

    #: The names in ``OURS`` that the project has overridden, without effect.
    overridden: tuple[str, ...] = ()

    def __new__(mcs, name: str, bases: tuple[type, ...], members: dict[str, Any]) -> Any:
        app = members.get("app")
        if app is None:
            return _guarded(super().__new__(mcs, name, bases, members))
        of_app: type[Any] = app.Task
        if not any(issubclass(base, of_app) for base in bases):
            bases = (*(base for base in bases if not issubclass(of_app, base)), of_app)
        if not issubclass(mcs, type(of_app)):  # the project's class has a metaclass, too
            mcs = type(mcs.__name__, (mcs, type(of_app)), {})
        made: Any = _guarded(super().__new__(mcs, name, bases, members))
        # An end that was wanted is no error for Celery's log, whatever else is none.
        named = _tuple(made.throws) if "throws" in members else (*_tuple(made.throws), *_tuple(of_app.throws))
        made.throws = tuple(dict.fromkeys((*named, WorkEnded)))
        return made

    def __setattr__(cls, name: str, value: Any) -> None:
        """Keep what is ours also if an attribute is set later, as Celery does for ``task_annotations``."""
        super().__setattr__(name, value)
        if name in OURS or name in GUARDS:
            _guarded(cls)

    def mro(cls) -> list[type]:
        """Let the project's class override what Celery's class for Django has, such as ``delay_on_commit()``."""
        order = super().mro()
        order.remove(DjangoTask)
        order.insert(order.index(Task), DjangoTask)
        return order


def _guarded(made: Any) -> Any:
    """Put *made*, a class, in order: ours stays ours, and what guards the job is around every override."""
    root = [base for base in made.__mro__ if isinstance(base, JobTaskType)][-1]
    if made is root:
        return made
    for name in OURS:
        if inspect.getattr_static(made, name) is not vars(root)[name]:
            type.__setattr__(made, name, vars(root)[name])
            type.__setattr__(made, "overridden", (*made.overridden, name))
    for name, around in GUARDS.items():
        given = inspect.getattr_static(made, name)
        if not getattr(given, "guards_job", False):
            type.__setattr__(made, name, around(given))
    return made


def _tuple(kinds: Any) -> tuple[Any, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)
