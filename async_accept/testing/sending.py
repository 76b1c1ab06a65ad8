"""Keeps the project's other tasks from the broker, and tells which they were."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from celery import Celery

from ..jobs.broker import Broker

__all__ = ["SentTask", "sent_tasks", "use_none"]


@dataclass(frozen=True)
class SentTask:
    """One of the project's other tasks, as the work has sent it: ``send_mail.delay(7)``."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    #: What else ``apply_async()`` was given, such as ``countdown`` or ``queue``.
    options: dict[str, Any] = field(default_factory=dict, compare=False)


#: The lists that are being filled.
_collecting: list[list[SentTask]] = []


@contextmanager
def sent_tasks() -> Iterator[list[SentTask]]:
    """Keep Celery tasks from being sent inside the block, and return the list of them.

    ``delay()``, ``delay_on_commit()``, ``apply_async()``, ``send_task()`` and signatures give their result object as
    usual, but nothing reaches a broker and nothing runs. If ``task_always_eager`` is on, Celery runs a task at once, as
    that setting says, and sends nothing. The messages of jobs are not in the list.
    """
    sent: list[SentTask] = []
    _collecting.append(sent)
    try:
        with patch.object(Celery, "send_task", _keep), patch.object(Broker, "use", use_none):
            yield sent
    finally:
        _collecting[:] = [other for other in _collecting if other is not sent]


SEND_TASK = inspect.signature(Celery.send_task)


def _keep(app: Celery, *args: Any, **kwargs: Any) -> Any:
    """Stand for ``Celery.send_task()``."""
    given = {**SEND_TASK.bind(app, *args, **kwargs).arguments}
    given |= given.pop("options", {})
    kept = [given.pop(name, None) for name in ("name", "args", "kwargs", "task_id", "result_cls")]
    name, positional, named, task_id, result_class = kept
    options = {key: value for key, value in given.items() if value is not None and key not in OF_CELERY}
    task = SentTask(name, tuple(positional or ()), dict(named or {}), options)
    for sent in _collecting:
        sent.append(task)
    return (result_class or app.AsyncResult)(task_id or str(uuid4()))


#: What Celery passes on by itself.
OF_CELERY = frozenset({"self", "producer", "publisher", "connection", "router", "task_type", "add_to_parent"})


def use_none(broker: Broker, work: Any) -> None:
    """Stand for ``Broker.use()``: nobody listens for the messages of jobs."""
