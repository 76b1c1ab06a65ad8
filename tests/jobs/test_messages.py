"""A message that is copied from the first one of its kind is the one that Celery would have built."""

import os
import threading
from functools import wraps
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery, current_app, shared_task, signals
from celery._state import _task_stack
from celery.app import routes
from kombu.serialization import dumps

from async_accept.jobs import messages
from async_accept.jobs.broker import Broker
from async_accept.jobs.confirms import send_together
from async_accept.jobs.messages import send
from async_accept.models import new_id
from async_accept.tasks import JobTask
from tests.testapp import tasks

#: The queues of this run.
NORMAL, SLOW = (f"{kind}-{Path(os.environ['ASYNC_ACCEPT_TEST_DIR']).name}" for kind in ("normal", "slow"))


@shared_task(base=JobTask, serializer="pickle", compression="gzip")
def with_options():
    """Sent as its options say."""


class Notes:
    """A producer that keeps what it is given."""

    def __init__(self):
        self.connection = current_app.connection_for_write()
        self.serializer = current_app.amqp.Producer(self.connection).serializer
        self.given = []

    def publish(self, body, **given):
        if "content_type" not in given:
            serialized = dumps(body, given.get("serializer") or self.serializer)
            given["content_type"], given["content_encoding"], body = serialized
        self.given.append((body, given))


def plain(app, producer, name, pk, headers, options):
    """What ``send()`` must equal."""
    app.send_task(name, task_id=pk, producer=producer, headers=headers, **options)


FORMS = pytest.mark.parametrize("form", [send, plain])


@pytest.fixture(autouse=True)
def _forget_kinds(monkeypatch):
    monkeypatch.setattr(messages, "_kinds", {})


def published(form, name=tasks.add.name, count=1, headers=None, **options):
    """Return what *form* publishes, with ids that are the same for each form."""
    producer, task = Notes(), current_app.tasks.get(name)
    for n in range(count):
        given = {"task_type": task, "retry": False, "add_to_parent": False, "ignore_result": True, **options}
        form(current_app, producer, name, f"id-{n}", {"n": n, **(headers or {})}, given)
    return producer.given


KINDS = [
    (tasks.add.name, {}),
    (tasks.add.name, {"queue": SLOW}),
    (tasks.add.name, {"priority": 0}),
    (tasks.add.name, {"queue": SLOW, "priority": 7, "time_limit": 60, "soft_time_limit": 50.5}),
    (tasks.add.name, {"headers": {"traceparent": "a", "deep": {"b": [1]}}}),
    (tasks.add.name, {"delivery_mode": 1, "shadow": "another name"}),
    (tasks.add.name, {"eta": None, "expires": None, "countdown": None}),
    (tasks.add.name, {"root_id": "root", "parent_id": "parent", "group_id": "group"}),
    (tasks.add.name, {"reply_to": "somebody", "app_id": "mine"}),
    (with_options.name, {"serializer": "pickle", "compression": "gzip", "time_limit": 9}),
    (with_options.name, {"serializer": "json", "compression": "bzip2"}),
    ("tests.unknown", {}),
    ("tests.unknown", {"queue": SLOW, "ignore_result": False}),
]


@pytest.mark.parametrize(
    ("name", "options"), [*KINDS, (tasks.add.name, {"exchange": "other", "routing_key": "there"})]
)
def test_messages_are_those_of_celery(name, options):
    ours, theirs = (published(form, name, 3, **options) for form in (send, plain))
    assert ours == theirs
    assert [given["headers"]["id"] for _, given in ours] == ["id-0", "id-1", "id-2"]


@pytest.fixture
def via():
    via = Broker(5.0, confirmed=True)
    yield via

    def remove(producer):
        for name in (NORMAL, SLOW):
            current_app.amqp.queues[name](producer.channel).delete()

    via.use(remove)
    via.close()


def received(via, form, name, options):
    """Return two messages that *form* publishes, as the broker of this run hands them out."""
    queue = current_app.amqp.queues[options.get("queue", NORMAL)]
    given = {"queue": queue.name, "retry": False, "add_to_parent": False, "ignore_result": True, **options}
    headers = given.pop("headers", {})

    def publish(producer):
        bound = queue(producer.connection.channel())
        bound.declare()
        bound.purge()
        send_together(
            producer,
            ["id-0", "id-1"],
            lambda pk: form(current_app, producer, name, pk, {**headers, "async_accept_job": 1}, given),
        )
        return [bound.get(no_ack=True, accept=["json", "pickle"]) for _ in range(2)]

    messages = via.use(publish)
    return [
        (message.body, message.headers, message.content_type, message.content_encoding, own(message))
        for message in messages
    ]


def own(message):
    """Return the properties of a message, without what Kombu's virtual transports number."""
    return {name: value for name, value in message.properties.items() if name != "delivery_tag"}


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_the_broker_gets_the_messages_of_celery(via, name, options):
    ours, theirs = (received(via, form, name, options) for form in (send, plain))
    assert ours == theirs
    assert [headers["id"] for _, headers, *_ in ours] == ["id-0", "id-1"]


def test_messages_of_another_thread_are_those_of_celery():
    published(send)
    found = []
    work = threading.Thread(target=lambda: found.extend(published(form) for form in (send, plain)))
    work.start()
    work.join()
    assert found[0] == found[1] != published(send)


def test_headers_of_one_message_are_not_those_of_the_next():
    [(_, first)] = published(send, headers={"traceparent": "a"})
    [(_, second)] = published(send)
    assert first["headers"]["traceparent"] == "a"
    assert "traceparent" not in second["headers"]


def test_messages_of_one_kind_are_built_once(monkeypatch):
    built = []
    build = current_app.amqp.create_task_message

    def count(*args, **kwargs):
        built.append(args)
        return build(*args, **kwargs)

    monkeypatch.setattr(type(current_app.amqp), "create_task_message", property(lambda amqp: count))
    published(send, count=5)
    assert len(built) == 1
    published(send, queue="slow")
    assert len(built) == 2


@FORMS
def test_listeners_may_change_each_message(form):
    """As OpenTelemetry's instrumentation of Celery does."""
    after = []

    def before(headers, **kwargs):
        headers["seen"] = headers["id"]

    def note(headers, **kwargs):
        after.append(headers["id"])

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(note)
    # Celery remembers the list of receivers, and a signal may have another one since.
    vars(current_app.amqp).pop("send_task_message", None)
    try:
        given = published(form, count=2)
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(note)
        vars(current_app.amqp).pop("send_task_message", None)
    assert [message["headers"]["seen"] for _, message in given] == after == ["id-0", "id-1"]


def traced(send_task):
    """Return what stands for *send_task*, and gives each message another trace, as Sentry does."""
    traces = iter("abc")

    @wraps(send_task)
    def patched(*args, headers=None, **kwargs):
        return send_task(*args, headers={**(headers or {}), "trace": next(traces)}, **kwargs)

    return patched


@pytest.mark.parametrize("imported", ["before", "after"])
def test_what_stands_for_send_task_sees_each_message(imported, monkeypatch):
    monkeypatch.setattr(Celery, "send_task", traced(Celery.send_task))
    form = send if imported == "before" else imported_anew().send
    assert [given["headers"]["trace"] for _, given in published(form, count=3)] == ["a", "b", "c"]


def imported_anew():
    spec = find_spec(messages.__name__)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@FORMS
@pytest.mark.parametrize("table", ["mapping", "function"])
def test_routers_are_asked(form, table, monkeypatch):
    names = iter(["slow", "fast", "slow"])
    table = (
        {tasks.add.name: {"queue": "slow"}}
        if table == "mapping"
        else [lambda *args, **kwargs: {"queue": next(names)}]
    )
    prepared = routes.prepare(table)
    router = routes.Router(prepared, current_app.amqp.queues, create_missing=True, app=current_app)
    monkeypatch.setattr(current_app.amqp, "router", router)
    queues = [given["routing_key"] for _, given in published(form, count=3)]
    assert queues == (["slow"] * 3 if isinstance(table, dict) else ["slow", "fast", "slow"])


@FORMS
def test_an_event_is_sent_with_each_message(form):
    events = []
    dispatcher = SimpleNamespace(publish=lambda kind, fields, *args, **kwargs: events.append(fields["uuid"]))
    current_app.conf.task_send_sent_event = True
    try:
        assert len(published(form, count=2, event_dispatcher=dispatcher)) == 2
    finally:
        current_app.conf.task_send_sent_event = False
    assert events == ["id-0", "id-1"]


@FORMS
def test_a_message_of_a_task_names_its_parent(form):
    parent = current_app.tasks[tasks.add.name]
    parent.push_request(id="parent", root_id="root", called_directly=False)
    _task_stack.push(parent)
    try:
        [(_, given)] = published(form)
    finally:
        _task_stack.pop()
        parent.pop_request()
    assert (given["headers"]["parent_id"], given["headers"]["root_id"]) == ("parent", "root")


def test_not_more_kinds_are_remembered_than_fit(monkeypatch):
    monkeypatch.setattr(messages, "SIZE", 3)
    for n in range(10):
        published(send, queue=f"q{n}")
    assert len(messages._kinds) <= 3
    assert published(send, queue="q0", name=str(new_id()))
