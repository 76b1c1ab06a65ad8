"""Our way to the broker: bounded, rebuilt after an error, quiet while the broker is down."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from amqp.exceptions import PreconditionFailed
from celery import current_app
from django.test import override_settings
from kombu import Connection
from kombu.transport import redis

from async_accept.exceptions import BrokerUnavailable
from async_accept.jobs import broker as module
from async_accept.jobs.broker import IDLE_SECONDS, Broker, _keep_client
from tests.clocks import Clock
from tests.forks import in_child

pytestmark = pytest.mark.skipif(
    not str(current_app.conf.broker_url).startswith("memory"), reason="looks into the transport in memory"
)

PAUSE = 5


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def broker(clock):
    broker = Broker(clock=clock)
    yield broker
    broker.close()


@pytest.fixture
def down(monkeypatch):
    """No connection can be made; counts how often somebody tried."""
    tries = []

    def refuse(self):
        tries.append(1)
        raise OSError("refused")

    monkeypatch.setattr(Broker, "_connect", refuse)
    return tries


def nothing(producer):
    return producer


def fail(producer):
    raise OSError("reset by peer")


def test_work_gets_a_producer_and_its_value_comes_back(broker):
    assert broker.use(lambda producer: (producer.connection.transport_cls, 7)) == ("memory", 7)


def test_a_connection_is_used_again(broker):
    assert broker.use(nothing) is broker.use(nothing)


def test_two_at_a_time_get_two_connections(broker):
    first, second = broker.use(lambda one: (one, broker.use(nothing)))
    assert first is not second
    assert len(broker.idle) == 2


def test_a_connection_that_was_idle_for_too_long_is_not_used_again(broker, clock):
    old = broker.use(nothing)
    clock.go_on(IDLE_SECONDS + 1)
    assert broker.use(nothing) is not old


def test_a_failure_tells_its_kind_only(broker):
    with pytest.raises(BrokerUnavailable, match=r"^OSError$"):
        broker.use(fail)


def test_a_connection_that_failed_is_not_used_again(broker, clock):
    old = broker.use(nothing)
    with pytest.raises(BrokerUnavailable):
        broker.use(fail)
    assert not broker.idle
    clock.go_on(PAUSE)
    assert broker.use(nothing) is not old


def test_a_kept_connection_that_turns_out_dead_costs_no_message(broker):
    """The broker was restarted while nobody published: a fresh connection is tried at once."""
    dead = broker.use(nothing)

    def publish(producer):
        if producer is dead:
            raise OSError("reset by peer")
        return "published"

    assert broker.use(publish) == "published"
    assert not broker.paused


def test_a_kept_connection_that_hangs_is_not_tried_twice(broker, clock):
    broker.use(nothing)
    tries = []

    def hang(producer):
        tries.append(1)
        clock.go_on(broker.seconds)
        raise TimeoutError

    with pytest.raises(BrokerUnavailable):
        broker.use(hang)
    assert len(tries) == 1


def test_after_a_failure_nobody_asks_for_a_while(broker, clock, down):
    for _ in range(5):
        with pytest.raises(BrokerUnavailable):
            broker.use(nothing)
        clock.go_on(PAUSE / 10)
    assert len(down) == 1
    assert broker.paused


def test_after_the_pause_it_is_asked_again(broker, clock, down):
    with pytest.raises(BrokerUnavailable):
        broker.use(nothing)
    clock.go_on(PAUSE)
    assert not broker.paused
    with pytest.raises(BrokerUnavailable):
        broker.use(nothing)
    assert len(down) == 2


def test_after_the_pause_one_asks_for_all(broker, clock):
    with pytest.raises(BrokerUnavailable):
        broker.use(fail)
    clock.go_on(PAUSE)

    def meanwhile(producer):
        with pytest.raises(BrokerUnavailable, match="being asked again"):
            broker.use(nothing)
        return "asked"

    assert broker.use(meanwhile) == "asked"
    broker.use(nothing)


@pytest.mark.parametrize(
    "error", [KeyError("route"), PreconditionFailed("inequivalent arg"), ZeroDivisionError()]
)
def test_what_the_work_does_wrong_is_not_the_brokers_fault(broker, error):
    """One route that fails must not keep everybody else from publishing."""

    def work(producer):
        raise error

    with pytest.raises(type(error)):
        broker.use(work)
    assert not broker.paused
    assert broker.use(nothing).connection.connected


def test_without_a_pause_everybody_asks(broker, down, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    for _ in range(3):
        with pytest.raises(BrokerUnavailable):
            broker.use(nothing)
    assert len(down) == 3


def test_after_a_fork_the_parents_connections_are_left_alone(broker):
    parents = broker.use(nothing)

    def is_left_alone():
        others = broker.use(nothing) is not parents
        kept = any(parents in (producer for producer, _ in idle) for idle in module._inherited)
        return others and kept and parents.connection.connected

    assert in_child(is_left_alone)
    assert broker.use(nothing) is parents


def test_after_a_fork_the_parents_pause_is_not_ours(broker):
    with pytest.raises(BrokerUnavailable):
        broker.use(fail)
    assert in_child(lambda: broker.use(nothing))
    assert broker.paused


def test_check_tells_whether_the_broker_answers(broker, clock, monkeypatch):
    broker.check()
    broker.close()
    monkeypatch.setattr(Broker, "_connect", fail)
    with pytest.raises(BrokerUnavailable):
        broker.check()


def test_check_asks_the_broker_also_on_a_kept_connection(broker, clock, monkeypatch):
    """What was kept may be the connection to a broker that stands still since."""
    connection = broker.use(nothing).connection

    def hang():
        clock.go_on(broker.seconds)
        raise TimeoutError

    monkeypatch.setattr(connection, "channel", hang)
    with pytest.raises(BrokerUnavailable):
        broker.check()


def test_the_depth_of_a_queue(broker):
    assert broker.depth("no such queue") == 0

    def publish(producer):
        queue = current_app.amqp.queues.select_add("depth test").bind(producer.channel)
        queue.declare()
        queue.purge()
        producer.publish("x", exchange=queue.exchange, routing_key=queue.routing_key)
        return queue

    queue = broker.use(publish)
    assert broker.depth("depth test") == 1
    queue.delete()


@pytest.mark.parametrize(
    ("url", "bounded"),
    [
        ("redis://localhost/0", {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "max_retries": 0}),
        ("amqp://localhost//", {"read_timeout": 0.5, "write_timeout": 0.5}),
        ("memory://", {}),
    ],
)
def test_every_wait_is_bounded(url, bounded, monkeypatch):
    monkeypatch.setattr(current_app.conf, "broker_write_url", url, raising=False)
    monkeypatch.setattr(
        module,
        "current_app",
        type("app", (), {"conf": current_app.conf, "connection_for_write": lambda: Connection(url)}),
    )
    options = module._bounded(0.5)
    assert {name: options[name] for name in bounded} == bounded


@pytest.mark.parametrize(
    ("url", "project"),
    [
        ("redis://localhost/0", {"retry": object(), "retry_on_error": [OSError], "retry_on_timeout": True}),
        ("amqp://localhost//", {"confirm_publish": True}),
    ],
)
def test_what_would_outlast_a_bound_is_off_although_the_project_sets_it(url, project, monkeypatch):
    """Celery adds the project's options to those of a connection: to leave one out has no effect."""
    conf = SimpleNamespace(broker_transport_options=project)
    app = SimpleNamespace(conf=conf, connection_for_write=lambda: Connection(url))
    monkeypatch.setattr(module, "current_app", app)
    options = {**project, **module._bounded(0.5)}
    assert not any(options[name] for name in project)


def test_seconds_are_the_settings_unless_told_otherwise():
    with override_settings(ASYNC_ACCEPT={"BROKER_TIMEOUT": 0.7}):
        assert Broker().seconds == 0.7
        assert Broker(2.0).seconds == 2.0


def test_a_channel_of_redis_keeps_its_client():
    """Kombu makes a client for each message, which costs as much as to send it."""
    assert redis.Channel.conn_or_acquire, "its name in Kombu"
    made = []

    class Channel:
        @contextmanager
        def conn_or_acquire(self, client=None):
            made.append(client or object())
            yield made[-1]

    channel, given = Channel(), object()
    _keep_client(channel)
    with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
        assert first is second
    with channel.conn_or_acquire(given) as third:
        assert third is given
    assert len(made) == 1
