"""The brokers of the benchmarks."""

import os
from urllib.parse import urlsplit

from kombu import Connection

__all__ = ["RABBITMQ", "drop_queues", "need"]

#: For the one figure that needs RabbitMQ.
RABBITMQ = os.environ.get("BENCH_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")


def url() -> str:
    return os.environ.get("CELERY_BROKER_URL") or "redis://127.0.0.1:6379/0"


def need(*urls: str) -> None:
    """See that each broker answers.

    Raises:
        SystemExit: one does not.
    """
    for each in urls:
        server = urlsplit(each)
        try:
            with Connection(each, connect_timeout=3) as connection:
                connection.ensure_connection(max_retries=1, interval_start=0)
        except Exception as error:
            where = f"{server.hostname}:{server.port}"
            raise SystemExit(f"No broker answers at {where}: {type(error).__name__}") from None


def drop_queues(url: str, *names: str) -> None:
    """Delete the queues of a run from a RabbitMQ, which keeps them when they are empty."""
    if url.startswith("amqp"):
        with Connection(url) as connection:
            for name in names:
                connection.default_channel.queue_delete(name)
