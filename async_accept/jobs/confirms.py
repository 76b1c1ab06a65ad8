"""Messages that are sent together: the broker answers once for many of them.

RabbitMQ confirms each message that it has taken, but nobody needs to wait for one before the next is sent. See
https://www.rabbitmq.com/docs/confirms.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, cast

from amqp.exceptions import RecoverableConnectionError
from kombu import Producer

__all__ = ["Confirms", "must_arrive", "send_together"]

T = TypeVar("T")


class Confirms:
    """The messages of one AMQP channel that the broker has yet to confirm, by their numbers on that channel.

    Args:
        channel: a fresh one; from now on the broker confirms what is published on it.
        seconds: how long the broker may be silent while something is not confirmed.
    """

    def __init__(self, channel: Any, seconds: float) -> None:
        self.channel = channel
        self.seconds = seconds
        #: How many messages were published.
        self.sent = 0
        self.waiting: set[int] = set()
        self.refused: set[int] = set()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._end)
        channel.events["basic_nack"].add(self._refuse)
        self._publish = channel.basic_publish
        channel.basic_publish = self._count

    def wait(self) -> set[int]:
        """Wait until the broker has answered for each message; return those that it refused since the last call.

        A broker that is slow is waited for: what it has would be sent to it again.

        Raises:
            TimeoutError: it was silent for too long.
            Exception: it closed the connection or the channel, or returned a message that has no queue.
        """
        while self.waiting:
            if self.channel.connection is None:
                raise RecoverableConnectionError("The connection was closed.")
            self.channel.connection.drain_events(timeout=self.seconds)
        refused, self.refused = self.refused, set()
        return refused

    def _count(self, *args: Any, **kwargs: Any) -> Any:
        self.sent += 1
        self.waiting.add(self.sent)
        return self._publish(*args, **kwargs)

    def _end(self, number: int, multiple: bool) -> set[int]:
        """Note that the broker has answered for one message, or for all up to it."""
        ended = {n for n in self.waiting if n <= number} if multiple else {number}
        self.waiting -= ended
        return ended

    def _refuse(self, number: int, multiple: bool) -> None:
        self.refused |= self._end(number, multiple)


def send_together(producer: Producer, items: Sequence[T], send: Callable[[T], object]) -> list[T]:
    """Call *send*, which publishes by *producer*, with each item; return those whose messages the broker refused.

    Redis gets them in one round trip, if Kombu can (5.7). If the producer's connection has confirms, it ends when all
    have come.

    Raises:
        Exception: what *send* or the broker raised; then no message counts as published.
    """
    confirms: Confirms | None = getattr(producer, "confirms", None)
    if confirms is None:
        with _batch(producer, len(items)):
            for item in items:
                send(item)
        return []
    #: Which item each message belongs to.
    places: dict[int, int] = {}
    for place, item in enumerate(items):
        before = confirms.sent
        send(item)
        places.update(dict.fromkeys(range(before + 1, confirms.sent + 1), place))
    return [items[place] for place in sorted({places[number] for number in confirms.wait()})]


def must_arrive(producer: Producer) -> dict[str, bool]:
    """Return the option of a message that must reach a queue, if the producer's connection has confirms.

    RabbitMQ confirms also what it drops because it has no such queue; with this option it returns it, an error.
    """
    return {"mandatory": True} if getattr(producer, "confirms", None) else {}


def _batch(producer: Producer, size: int) -> AbstractContextManager[object]:
    batch = getattr(producer, "batch", None)
    return nullcontext() if batch is None or size == 1 else cast(AbstractContextManager[object], batch())
