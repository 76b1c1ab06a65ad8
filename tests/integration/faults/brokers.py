"""Brokers of the test's own, on free ports."""

import os
from pathlib import Path
from typing import Any

from .processes import Server, free_port, give

__all__ = ["Rabbitmq", "Redis"]


class Redis(Server):
    """Redis without persistence: it loses its messages if it is killed."""

    def __init__(self, folder: Path) -> None:
        self.url = f"redis://127.0.0.1:{(port := free_port())}/0"
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        super().__init__("redis", ["redis-server", *options, "--dir", str(folder)], folder, port)

    def client(self) -> Any:
        import redis

        return redis.Redis(port=self.port)

    def empty(self) -> None:
        self.client().flushall()


class Rabbitmq(Server):
    """A RabbitMQ node with its own folder, cookie and ports."""

    def __init__(self, folder: Path) -> None:
        port, dist_port = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{port}//"
        config = folder / "rabbitmq.conf"
        config.write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\nlog.console = true\n")
        own = {
            "RABBITMQ_NODENAME": f"faults{port}@localhost",
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -setcookie faults",
            "HOME": str(folder),
        }
        give("rabbitmq", folder)
        command = ["/usr/lib/rabbitmq/bin/rabbitmq-server"]
        super().__init__("rabbitmq", command, folder, port, env=os.environ | own, user="rabbitmq")

    def empty(self) -> None:
        from kombu import Connection

        with Connection(self.url) as connection:
            for queue in ("celery", "webhooks"):
                connection.default_channel.queue_purge(queue)
