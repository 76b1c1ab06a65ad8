"""No message counts as published before the broker has confirmed it, and many are waited for at once."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
from amqp.exceptions import RecoverableConnectionError

from async_accept.jobs.confirms import Confirms, send_together


class Channel:
    """A channel of AMQP: what it publishes, and what the broker answers each time that somebody reads."""

    def __init__(self, *answers):
        self.events, self.published, self.answers = defaultdict(set), [], list(answers)
        self.timeouts = []
        self.connection = SimpleNamespace(drain_events=self.drain_events)

    def confirm_select(self):
        assert not self.published

    def basic_publish(self, message):
        self.published.append(message)

    def drain_events(self, timeout):
        self.timeouts.append(timeout)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        kind, number, multiple = answer
        for callback in self.events[kind]:
            callback(number, multiple)


def send(channel, items, seconds=1):
    """Send one message for each item; return the items that were refused."""
    producer = SimpleNamespace(confirms=Confirms(channel, seconds), channel=channel)
    return send_together(producer, items, lambda item: channel.basic_publish(item))


def test_all_are_sent_before_the_first_confirm_is_waited_for():
    channel = Channel(("basic_ack", 3, True))
    assert send(channel, "abc") == []
    assert channel.published == ["a", "b", "c"]


def test_confirms_come_in_any_order():
    channel = Channel(("basic_ack", 2, False), ("basic_ack", 3, False), ("basic_ack", 1, False))
    assert send(channel, "abc") == []
    assert channel.answers == []


@pytest.mark.parametrize(
    ("answers", "refused"),
    [
        ([("basic_ack", 1, False), ("basic_nack", 2, False), ("basic_ack", 3, False)], ["b"]),
        ([("basic_nack", 2, True), ("basic_ack", 3, True)], ["a", "b"]),
        ([("basic_ack", 2, False), ("basic_nack", 3, True)], ["a", "c"]),
    ],
)
def test_what_was_refused_is_told(answers, refused):
    assert send(Channel(*answers), "abc") == refused


def test_an_item_of_several_messages_is_refused_with_one_of_them():
    """Such as a job with an event of Celery's."""
    channel = Channel(("basic_ack", 3, True), ("basic_nack", 4, False))
    producer = SimpleNamespace(confirms=Confirms(channel, 1))

    def twice(item):
        channel.basic_publish(item)
        channel.basic_publish(item)

    assert send_together(producer, "ab", twice) == ["b"]


def test_what_was_refused_before_is_not_told_again():
    channel = Channel(("basic_nack", 1, False), ("basic_ack", 2, False))
    producer = SimpleNamespace(confirms=Confirms(channel, 1))
    assert [send_together(producer, item, channel.basic_publish) for item in "ab"] == [["a"], []]


def test_a_broker_that_is_silent_has_confirmed_nothing_more():
    channel = Channel(("basic_ack", 1, False), TimeoutError())
    with pytest.raises(TimeoutError):
        send(channel, "ab", seconds=2.5)
    assert channel.timeouts == [2.5, 2.5]


def test_a_connection_that_ends_is_an_error():
    with pytest.raises(OSError, match="reset"):
        send(Channel(("basic_ack", 1, False), OSError("reset")), "ab")
    channel = Channel()
    channel.connection = None
    with pytest.raises(RecoverableConnectionError):
        send(channel, "ab")


def test_without_confirms_nothing_is_waited_for():
    sent = []
    assert send_together(SimpleNamespace(), "ab", sent.append) == []
    assert sent == ["a", "b"]
