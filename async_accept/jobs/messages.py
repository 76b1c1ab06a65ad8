"""The messages of jobs, as ``Celery.send_task()`` sends them.

Celery builds every message anew, although those of one task differ in their ids only. Here it builds the first one of
each kind, and the others are copies of that. Where anybody has a say in single messages, Celery builds them all.
"""

import os
from types import MethodType
from typing import Any

from celery import signals
from celery.app import base
from celery.app.routes import MapRoute
from kombu import Producer
from kombu.serialization import dumps

__all__ = ["send"]

#: What somebody may listen to while a message is sent.
_HEARD = (signals.before_task_publish, signals.after_task_publish, signals.task_sent)
#: Options with which messages of one kind differ in more than their ids, or have others.
_APART = {"countdown", "eta", "expires", "reply_to", "root_id"}
#: How many kinds of messages one process remembers.
SIZE = 256
#: The serialized body of a kind of messages, and the other arguments of ``Producer.publish()``.
_Kind = tuple[Any, dict[str, Any]]
#: None: Celery builds each message of this kind: it sends an event with it, or a function routes it.
_kinds: dict[Any, _Kind | None] = {}


def send(
    app: Any, producer: Producer, name: str, pk: str, headers: dict[str, Any], options: dict[str, Any]
) -> None:
    """Send a message of the task *name* for the job *pk*.

    Args:
        headers: of this message alone.
        options: those of ``send_task()``.
    """
    kind = _kind(app, producer, name, options) if _are_alike(app) else None
    if kind is None:
        app.send_task(name, task_id=pk, producer=producer, headers=headers, **options)
        return
    body, given = kind
    own = {"id": pk, "root_id": pk, **headers}
    known: Any = producer.connection.declared_entities  # type: ignore[union-attr] # it has a connection
    fresh = {
        "headers": {**given["headers"], **own},
        "correlation_id": pk,
        "reply_to": app.thread_oid,
        # Kombu would bind each one to the channel before it looks there.
        "declare": [entity for entity in given["declare"] or () if hash(entity) not in known],
    }
    producer.publish(body, **{**given, **fresh})


def _are_alike(app: Any) -> bool:
    """Whether messages of one kind differ in their ids only: nobody listens, and no task is around."""
    before, after, sent = _HEARD
    is_heard = before.receivers or after.receivers or sent.receivers
    return not is_heard and _is_celerys(app.send_task) and not app.current_worker_task


def _is_celerys(method: Any) -> bool:
    """Whether *method* is the one that Celery wrote; what Sentry puts in its place has only the name of it.

    It may have been replaced before this module was imported, so there is nothing to compare it with but its module.
    """
    return type(method) is MethodType and getattr(method, "__globals__", None) is vars(base)


def _kind(app: Any, producer: Producer, name: str, options: dict[str, Any]) -> _Kind | None:
    router = app.amqp.router
    # The name says which task it is, and its text is long. The process is named in each message.
    key = router, name, repr({**options, "task_type": None}), os.getpid()
    try:
        return _kinds[key]
    except KeyError:  # not by asking first: another thread may clear them in between
        is_built = app.conf.task_send_sent_event or _APART & options.keys()
        # A router that is a function may route each message differently.
        is_built = is_built or any(type(route) is not MapRoute for route in router.routes)
        kind = None if is_built else _new_kind(app, producer, name, options)
    if len(_kinds) >= SIZE:
        _kinds.clear()
    _kinds[key] = kind
    return kind


def _new_kind(app: Any, producer: Producer, name: str, options: dict[str, Any]) -> _Kind:
    note = _Note(producer)
    app.send_task(name, producer=note, **options)
    body, given = note.noted
    # Serialized once for all of them: their bodies are the same.
    content_type, content_encoding, body = dumps(body, given.get("serializer") or producer.serializer)
    return body, {**given, "content_type": content_type, "content_encoding": content_encoding}


class _Note:
    """Stands for *producer*, and notes what it should publish."""

    noted: _Kind

    def __init__(self, producer: Producer) -> None:
        self.connection = producer.connection

    def publish(self, body: Any, **given: Any) -> None:
        self.noted = body, given
