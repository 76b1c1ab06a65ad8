"""Our own connections to the broker: with short timeouts, made anew after an error, unused while the broker is down.

Celery's own pool waits and retries for ever by default, and a connection that Kombu closed by force refuses from then
on. A client cannot wait for that. After a failure nobody asks the broker for ``PAUSE_SECONDS``; then one caller asks
for all.
"""

import selectors
import threading
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext, suppress
from time import monotonic
from typing import Any, TypeVar, cast

from amqp.exceptions import ChannelError
from celery import current_app
from kombu import Connection, Producer
from kombu.exceptions import OperationalError

from ..conf import conf
from ..exceptions import BrokerUnavailable
from .confirms import Confirms
from .forks import call_after_fork

__all__ = ["Broker", "broker"]

T = TypeVar("T")

#: After a failure no caller of this process tries the broker for so long; then one does, for all.
PAUSE_SECONDS = 5.0
#: A connection that was idle for longer is not used again: the broker or a firewall may have closed it. So connections
#: need no heartbeats.
IDLE_SECONDS = 30.0
#: AMQP's code for a queue that does not exist. The other transports of Kombu use it too, as text; with Redis an empty
#: queue does not exist.
NOT_FOUND = "404"

#: Connections of a parent process. They are kept: to close them, even by garbage collection, would close the parent's.
_inherited: list[object] = []


class Broker:
    """Producers with bounded connections, one for each thread that publishes at the same time.

    Args:
        seconds: how long a single step may take; None takes ``BROKER_TIMEOUT``.
        clock: gives seconds, monotonic; replaced in tests.
        confirmed: RabbitMQ confirms messages (``send_together()``). For one message of a request, that would cost more
            than it is worth: if it is lost, the relay publishes it again.
    """

    def __init__(
        self,
        seconds: float | None = None,
        clock: Callable[[], float] = monotonic,
        *,
        confirmed: bool = False,
    ) -> None:
        self._seconds = seconds
        self.clock = clock
        self.confirmed = confirmed
        self._reset()
        call_after_fork(self._begin_anew)

    def _reset(self) -> None:
        #: Producers that nobody uses, and since when.
        self.idle: deque[tuple[Producer, float]] = deque()
        self.pause_until = float("-inf")
        self.failing = False
        self.probe = threading.Lock()

    def _begin_anew(self) -> None:
        """Forget the parent's connections without closing them."""
        _inherited.append(self.idle)
        self._reset()

    @property
    def seconds(self) -> float:
        return float(conf.BROKER_TIMEOUT if self._seconds is None else self._seconds)

    @property
    def paused(self) -> bool:
        """Whether the broker failed so recently that nobody should ask it."""
        return self.clock() < self.pause_until

    def use(self, work: Callable[[Producer], T]) -> T:
        """Call *work* with a producer and return what it returns.

        *work* may be called twice: if a connection that was kept turns out to be dead, a fresh one is tried at once.
        The second call must go on where the first one stopped.

        Raises:
            BrokerUnavailable: the broker failed now, or within the last ``PAUSE_SECONDS``.
            Exception: what *work* raised, if the broker itself is well; also if the broker refused what was asked.
        """
        if self.paused:
            raise BrokerUnavailable("The broker failed a moment ago.")
        if not self.failing:
            return self._use(work)
        # After a pause one caller finds out; the others do not wait for it.
        if not self.probe.acquire(blocking=False):
            raise BrokerUnavailable("The broker failed, and is being asked again.")
        try:
            return self._use(work)
        finally:
            self.probe.release()

    def check(self) -> None:
        """Find out whether the broker answers.

        Raises:
            BrokerUnavailable: it does not.
        """

        def ask(producer: Producer) -> None:
            connection: Any = producer.connection
            connection.channel().close()  # a round trip, with every transport

        self.use(ask)

    def depth(self, queue: str) -> int | None:
        """Return how many messages wait in *queue*: 0 if it does not exist, None if the broker does not tell.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def ask(producer: Producer) -> int | None:
            connection = producer.connection
            assert connection is not None
            channel: Any = connection.channel()  # a question about a missing queue ends its channel
            try:
                return int(channel.queue_declare(queue=queue, passive=True).message_count)
            except connection.channel_errors as error:
                return 0 if str(getattr(error, "reply_code", "")) == NOT_FOUND else None
            finally:
                with suppress(*connection.connection_errors, *connection.channel_errors):
                    channel.close()

        return self.use(ask)

    def close(self) -> None:
        """Drop every idle connection."""
        with suppress(IndexError):
            while True:
                _drop(self.idle.pop()[0])

    def _use(self, work: Callable[[Producer], T]) -> T:
        while True:
            producer = self._take()
            kept = producer is not None
            began = self.clock()
            try:
                producer = producer or self._connect()
                value = work(producer)
            except Exception as error:
                if producer is not None:
                    _drop(producer)
                self.close()  # they are as old as this one
                # A dead connection fails at once; after a timeout the caller has waited for long enough.
                if kept and self.clock() - began < self.seconds / 2:
                    continue
                if producer is not None and not _is_brokers(error, producer):
                    raise
                self.failing = True
                self.pause_until = self.clock() + PAUSE_SECONDS
                raise BrokerUnavailable(type(error).__name__) from error
            self.failing = False
            self.pause_until = float("-inf")
            self.idle.append((producer, self.clock()))
            return value

    def _take(self) -> Producer | None:
        with suppress(IndexError):
            while True:
                producer, since = self.idle.pop()
                if self.clock() - since < IDLE_SECONDS and not _is_dropped(producer):
                    return producer
                _drop(producer)
        return None

    def _connect(self) -> Producer:
        seconds = self.seconds
        connection: Connection = current_app.connection_for_write(
            connect_timeout=seconds, heartbeat=0, transport_options=_bounded(seconds)
        )
        # Each of the project's brokers is tried once: Kombu's own retries would outlast any bound.
        connection.ensure_connection(
            max_retries=max(len(connection.alt) - 1, 0), interval_start=0, interval_step=0
        )
        producer: Any = current_app.amqp.Producer(connection, auto_declare=False)
        _keep_client(producer.channel)
        # AMQP's; other transports have none of their own.
        producer.sock = getattr(connection.connection, "sock", None)
        if self.confirmed and hasattr(producer.channel, "confirm_select"):
            producer.confirms = Confirms(producer.channel, seconds)
        return cast(Producer, producer)


def _keep_client(channel: Any) -> None:
    """Let a channel of Kombu's Redis transport keep one client; it makes one for each message, which costs as much."""
    acquire = getattr(channel, "conn_or_acquire", None)
    if acquire is not None:
        with acquire() as kept:
            channel.conn_or_acquire = lambda client=None: nullcontext(client or kept)


def _bounded(seconds: float) -> dict[str, Any]:
    """Return the project's transport options with every wait bounded, for the transport in use.

    What the project set is replaced, not left out: Celery adds the project's options to those of a connection.
    """
    options = dict(current_app.conf.broker_transport_options or {})
    driver = current_app.connection_for_write().transport_cls
    if "redis" in str(driver) or "sentinel" in str(driver):
        waits = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        options.update(waits, retry=None, retry_on_error=None, retry_on_timeout=False, max_retries=0)
        if "sentinel_kwargs" in options:
            options["sentinel_kwargs"] = {**options["sentinel_kwargs"], **waits}
    elif "amqp" in str(driver):
        # py-amqp would wait for the confirm of each message before the next.
        options.update(read_timeout=seconds, write_timeout=seconds, max_retries=0, confirm_publish=False)
    return options


def _is_dropped(producer: Any) -> bool:
    """Tell whether the broker has closed this connection: AMQP does not notice before the second message.

    On an idle publisher's connection there is nothing to read, except its end.
    """
    if producer.sock is None:
        return False
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(producer.sock, selectors.EVENT_READ)
            return bool(selector.select(0))
    except (OSError, ValueError):
        return True  # it is closed


def _is_brokers(error: Exception, producer: Producer) -> bool:
    """Tell whether *error* means that the broker, or the way to it, is broken.

    A ``ChannelError`` of AMQP does not: the broker refused one thing, such as a queue that exists with other arguments.
    """
    connection: Any = producer.connection
    if connection is None:
        return True
    if isinstance(error, ChannelError):
        return False
    faults = (OSError, OperationalError, *connection.connection_errors, *connection.channel_errors)
    return isinstance(error, faults)


def _drop(producer: Producer) -> None:
    """Close a connection that may be broken; never wait for it."""
    with suppress(Exception):
        producer.connection.collapse()  # type: ignore[union-attr] # None is as good as closed


#: The connections of a process that serves requests.
broker = Broker()
