"""Publishing: one message for each job, with its id and nothing else."""

from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from amqp.exceptions import PreconditionFailed
from celery import current_app, shared_task
from celery.app import routes
from django.core.exceptions import ImproperlyConfigured

from async_accept.exceptions import BrokerUnavailable
from async_accept.jobs import publish as module
from async_accept.jobs.publish import Waiting, message_options, publish, queue_of, send_options
from async_accept.models import new_id
from async_accept.tasks import JobTask

pytestmark = pytest.mark.django_db


@shared_task(base=JobTask, serializer="json", expires=60)
def with_options():
    """Published as its options say."""


# --- Publishing ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sent(monkeypatch):
    """What Celery was given to send."""
    sent = []

    def send_task(name, **options):
        sent.append((name, options))

    monkeypatch.setattr(current_app, "send_task", send_task, raising=False)
    monkeypatch.setattr(module, "current_app", current_app)
    return sent


class Takes:
    """A broker that takes so many messages."""

    def __init__(self, calls=1):
        self.calls = calls

    def use(self, work):
        return work(type("producer", (), {}))


def test_jobs_are_published_in_order_and_tells_what_was_taken(sent):
    ids = [new_id() for _ in range(250)]
    assert publish([(pk, "tests.unknown") for pk in ids], Takes()) == ids
    assert [options["task_id"] for _, options in sent] == [str(pk) for pk in ids]


def test_a_message_is_never_retried_stored_or_expired(sent):
    publish([(new_id(), with_options.name)], Takes())
    ((name, options),) = sent
    assert name == with_options.name
    assert (options["retry"], options["ignore_result"], options["headers"]) == (
        False,
        True,
        {"async_accept_job": 1},
    )
    assert "expires" not in options
    assert not {"args", "kwargs"} & set(options)


def test_a_task_keeps_its_routing_and_its_priority():
    given = {"queue": "slow", "priority": 7, "routing_key": None, "expires": 60}
    task = SimpleNamespace(_get_exec_options=lambda: given)
    assert send_options(task) == {"queue": "slow", "priority": 7}


OF_VIEW = {"queue": "slow", "priority": 7, "time_limit": 60, "soft_time_limit": 50.5}


def test_what_a_view_says_goes_with_each_message(sent):
    publish([Waiting(new_id(), with_options.name, OF_VIEW), (new_id(), with_options.name)], Takes())
    (_, first), (_, second) = sent
    assert OF_VIEW.items() <= first.items()
    assert first["serializer"] == "json"
    assert not OF_VIEW.keys() & second.keys()


def test_a_view_beats_the_task():
    given = {"queue": "fast", "exchange": "e", "routing_key": "r", "priority": 1, "time_limit": 5}
    task = SimpleNamespace(_get_exec_options=lambda: given)
    assert send_options(task, OF_VIEW) == OF_VIEW
    assert send_options(task, {"priority": 7}) == {**given, "priority": 7}


def test_the_queue_of_a_view_is_where_its_jobs_wait():
    assert queue_of(with_options.name, OF_VIEW) == "slow"
    assert queue_of(with_options.name, {"priority": 7}) == current_app.conf.task_default_queue


def test_a_view_that_says_nothing_needs_no_column():
    assert message_options() is None
    assert message_options(**OF_VIEW) == OF_VIEW
    assert message_options(priority=0) == {"priority": 0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("queue", value) for value in ("", 7, ["slow"])),
        *(("priority", value) for value in (-1, 256, "high", 1.5, True)),
        *(
            ("time_limit", value)
            for value in (0, -1, "60", timedelta(seconds=60), float("inf"), float("nan"), True)
        ),
        ("soft_time_limit", Decimal(5)),
    ],
)
def test_what_celery_could_not_use_is_refused(name, value):
    with pytest.raises(ImproperlyConfigured, match=f"^{name} is "):
        message_options(**{name: value})


def test_a_soft_limit_that_comes_after_the_hard_one_is_refused():
    with pytest.raises(ImproperlyConfigured, match="shorter"):
        message_options(time_limit=5, soft_time_limit=5)


def test_the_queue_of_a_task_is_where_it_is_routed(monkeypatch):
    table = routes.prepare({with_options.name: {"queue": "slow"}})
    router = routes.Router(table, current_app.amqp.Queues({}), create_missing=True, app=current_app)
    monkeypatch.setattr(current_app.amqp, "router", router)
    assert queue_of(with_options.name) == "slow"


def test_a_task_that_only_workers_know_goes_to_the_default_queue():
    assert send_options(None) == {}
    assert queue_of("tests.unknown") == current_app.conf.task_default_queue


def test_a_job_that_cannot_be_published_does_not_stand_in_the_way(monkeypatch, caplog):
    def send_task(name, **options):
        if name == "tests.bad":
            raise ValueError("hunter2")

    monkeypatch.setattr(current_app, "send_task", send_task, raising=False)
    bad, good = new_id(), new_id()
    assert publish([(bad, "tests.bad"), (good, "tests.good")], Takes()) == [bad, good]
    assert f"Job {bad} cannot be published for tests.bad: ValueError" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("error", [KeyError, PreconditionFailed])
def test_a_job_that_fails_at_every_broker_is_the_only_one_passed_over(sent, error):
    """It stands first among many, and is the oldest in every tick of the relay."""
    ids = [new_id() for _ in range(250)]

    class Refuses(Takes):
        def use(self, work):
            before = len(sent)
            super().use(work)
            if any(options["task_id"] == str(ids[0]) for _, options in sent[before:]):
                del sent[before:]
                raise error("no")

    assert publish([(pk, "tests.unknown") for pk in ids], Refuses()) == ids
    assert [options["task_id"] for _, options in sent] == [str(pk) for pk in ids[1:]]


def test_a_broker_that_goes_away_leaves_the_rest_waiting(sent):
    class Once(Takes):
        def use(self, work):
            if sent:
                raise BrokerUnavailable("OSError")
            super().use(work)

    ids = [new_id() for _ in range(250)]
    assert publish([(pk, "tests.unknown") for pk in ids], Once()) == ids[: module.CHUNK]


def test_a_broker_that_takes_none_is_unavailable():
    class Down:
        def use(self, work):
            raise BrokerUnavailable("OSError")

    with pytest.raises(BrokerUnavailable):
        publish([(new_id(), "tests.x")], Down())
