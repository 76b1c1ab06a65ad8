"""The relay's messages and RabbitMQ: each is confirmed, and each fault is seen."""

import socket
from contextlib import suppress
from types import SimpleNamespace
from uuid import uuid4

import pytest
from celery import current_app
from kombu import Exchange, Queue

from async_accept.exceptions import BrokerUnavailable
from async_accept.jobs.broker import Broker
from async_accept.jobs.publish import CHUNK, Waiting, publish
from async_accept.models import new_id

pytestmark = pytest.mark.rabbitmq

NOWHERE = {"exchange": "no such exchange of the tests", "routing_key": "nowhere"}


@pytest.fixture
def via():
    broker = Broker(5.0, confirmed=True)
    yield broker
    broker.close()


@pytest.fixture
def channel():
    with current_app.connection_for_write() as connection:
        yield connection.default_channel


@pytest.fixture
def queue(channel):
    name = f"confirms-{uuid4().hex}"
    yield name
    remove(channel, name)


def waiting(count, queue):
    return [Waiting(new_id(), "tests.unknown", {"queue": queue}) for _ in range(count)]


def remove(channel, name):
    channel.queue_delete(name)
    channel.exchange_delete(name)  # Celery makes one for each queue


def ids(jobs):
    return [job.pk for job in jobs]


def read(channel, queue):
    """Return the ids of the messages in the queue."""
    found = []
    while message := channel.basic_get(queue, no_ack=True):
        found.append(message.properties["correlation_id"])
    return found


@pytest.fixture
def published(monkeypatch):
    """How many messages each connection has published; ``before`` is called with each, its number and its connection's.

    The first connection has the number 0.
    """
    counts, before = [], []
    connect = Broker._connect

    def noting(self):
        producer = connect(self)
        publish, connection = producer.channel.basic_publish, len(counts)
        counts.append(0)

        def note(message, **given):
            counts[connection] += 1
            for call in before:
                call(producer, counts[connection], connection)
            return publish(message, **given)

        producer.channel.basic_publish = note
        return producer

    monkeypatch.setattr(Broker, "_connect", noting)
    return SimpleNamespace(counts=counts, before=before)


def cut(producer):
    with suppress(OSError):
        producer.connection.connection.sock.shutdown(socket.SHUT_RDWR)


def test_many_are_confirmed_together(via, channel, queue):
    jobs = waiting(CHUNK + 50, queue)
    assert publish(jobs, via) == ids(jobs)
    assert read(channel, queue) == list(map(str, ids(jobs)))
    [(producer, _)] = via.idle
    assert producer.confirms.sent == CHUNK + 50
    assert not producer.confirms.waiting


def test_the_projects_own_confirms_are_not_waited_for_one_by_one(via, monkeypatch):
    monkeypatch.setitem(current_app.conf.broker_transport_options, "confirm_publish", True)
    producer = via.use(lambda producer: producer)
    assert producer.connection.connection.confirm_publish is False


def test_a_connection_that_is_cut_in_the_middle_is_no_confirm(via, channel, queue, published):
    jobs = waiting(2 * CHUNK, queue)
    published.before.append(lambda producer, *place: place in ((CHUNK + 50, 0), (50, 1)) and cut(producer))
    assert publish(jobs, via) == ids(jobs[:CHUNK])
    assert via.paused
    assert set(map(str, ids(jobs[:CHUNK]))) <= set(read(channel, queue))
    assert published.counts == [CHUNK + 50, 50]


def test_a_kept_connection_that_is_cut_in_the_middle_costs_no_message(via, channel, queue, published):
    publish(waiting(1, queue), via)
    jobs = waiting(CHUNK, queue)
    published.before.append(
        lambda producer, number, connection: (number, connection) == (51, 0) and cut(producer)
    )
    assert publish(jobs, via) == ids(jobs)
    assert set(map(str, ids(jobs))) <= set(read(channel, queue))
    assert published.counts == [51, CHUNK]


def test_a_connection_that_is_cut_before_the_confirms_is_none(via, queue, published):
    published.before.append(lambda producer, number, connection: number == CHUNK and cut(producer))
    with pytest.raises(BrokerUnavailable):
        publish(waiting(CHUNK, queue), via)
    assert not via.idle


def test_a_full_queue_holds_up_no_other(via, channel, queue, caplog):
    full = f"{queue}-full"
    limits = {"x-max-length": 3, "x-overflow": "reject-publish"}
    current_app.amqp.queues.add(Queue(full, Exchange(full), full, queue_arguments=limits))
    bad, good = waiting(20, full), waiting(20, queue)
    jobs = [job for pair in zip(bad, good, strict=True) for job in pair]
    try:
        assert publish(jobs, via) == ids(jobs)
        assert read(channel, queue) == list(map(str, ids(good)))
        assert read(channel, full) == list(map(str, ids(bad[:3])))
    finally:
        current_app.amqp.queues.pop(full)
        remove(channel, full)
    assert "The broker refused the messages of 17 jobs" in caplog.text


def test_an_exchange_that_does_not_exist_holds_up_no_other(via, channel, queue, caplog):
    """AMQP closes the channel, and all that it has not confirmed is sent again."""
    bad = Waiting(new_id(), "tests.unknown", NOWHERE)
    jobs = [*waiting(20, queue), bad, *waiting(20, queue)]
    assert publish(jobs, via) == ids(jobs)
    assert set(map(str, ids(jobs))) - set(read(channel, queue)) == {str(bad.pk)}
    assert caplog.text.count("cannot be published") == 1
    assert f"Job {bad.pk} cannot be published for tests.unknown: NotFound" in caplog.text


def test_a_queue_that_was_deleted_is_declared_again(via, channel, queue):
    """A kept connection thinks that it is there, and RabbitMQ confirms a message that it drops."""
    publish(waiting(1, queue), via)
    channel.queue_delete(queue)
    jobs = waiting(5, queue)
    assert publish(jobs, via) == ids(jobs)
    assert read(channel, queue) == list(map(str, ids(jobs)))
