"""A worker serves what its processes have counted, at ``WORKER_METRICS_ADDRESS``.

Its main process does so, in a thread. What is in the table is left to the web processes: it is the same for all, and
would be counted once for each worker.
"""

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from celery import bootsteps, signals

from ...conf import conf
from ...http.monitoring import has_token
from ...jobs.forks import call_after_fork
from .directory import directory
from .exposition import exposed

__all__ = ["connect"]

logger = logging.getLogger(__name__)


def connect() -> None:
    """Add the step to every worker that this process starts."""
    signals.worker_init.connect(_add_step, dispatch_uid="async_accept.prometheus")


class Server(ThreadingMixIn, WSGIServer):
    """Answers each scrape in a thread, and ends with its process."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # A process of the pool that lives on after its worker must not hold the port.
        call_after_fork(self.server_close)


class Handler(WSGIRequestHandler):
    """Writes no line for each scrape, and waits for no client that says nothing."""

    #: In seconds.
    timeout = 10

    def log_message(self, *args: Any) -> None:
        pass


class ServeMetrics(bootsteps.StartStopStep):
    """Serve the metrics beside the worker; after the pool, so that the first processes are forked before."""

    requires = ("celery.worker.components:Pool",)
    obj: Server | None

    def include_if(self, worker: Any) -> bool:
        if conf.WORKER_METRICS_ADDRESS is None:
            return False
        if directory() is None and _has_children(worker):
            logger.warning(
                "This worker serves no metrics: its processes need PROMETHEUS_MULTIPROC_DIR to count together."
            )
            return False
        return True

    def start(self, worker: Any) -> None:
        try:
            self.obj = serve(conf.WORKER_METRICS_ADDRESS)
        except (OSError, OverflowError) as error:
            logger.warning(
                "This worker serves no metrics at %s: %s", conf.WORKER_METRICS_ADDRESS, type(error).__name__
            )

    def stop(self, worker: Any) -> None:
        if self.obj is not None:
            self.obj.shutdown()
            self.obj.server_close()


def _has_children(worker: Any) -> bool:
    return "prefork" in str(worker.pool_cls)


def serve(address: str) -> Server:
    """Serve the metrics at *address*, such as ``127.0.0.1:9540``, in a thread.

    Raises:
        OSError: the address is in use, or is none of this machine.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    kind: type[Any] = (
        type("Server6", (Server,), {"address_family": socket.AF_INET6}) if ":" in host else Server
    )
    server: Server = make_server(host, int(port), application, kind, Handler)
    threading.Thread(target=server.serve_forever, name="async_accept metrics", daemon=True).start()
    return server


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer as the view does; without ``MONITORING_TOKENS``, whoever reaches the address may read."""
    if conf.MONITORING_TOKENS and not has_token(environ.get("HTTP_AUTHORIZATION", "")):
        start_response("401 Unauthorized", [("WWW-Authenticate", "Bearer")])
        return [b"This needs a token of MONITORING_TOKENS.\n"]
    body, content_type = exposed(environ.get("HTTP_ACCEPT", ""), table=False)
    start_response("200 OK", [("Content-Type", content_type)])
    return [body]


def _add_step(sender: Any, **kwargs: Any) -> None:
    sender.app.steps["worker"].add(ServeMetrics)
