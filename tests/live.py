"""The live server of the tests: Django's own, which can also wait until it has nothing left to do.

Django's test server answers each connection in a thread. Such a thread may still work when the client has the
whole response (it closes old database connections then), and a client may leave before it gets one. A test must
not end, and lose its database, before these threads do.
"""

import contextlib
import socket
import threading
import time
from typing import Any

from django.core.servers.basehttp import ThreadedWSGIServer
from django.test.testcases import QuietWSGIRequestHandler
from pytest_django.live_server_helper import LiveServer as PytestLiveServer

#: How long the server may take to end what it does.
SECONDS = 20


class Handler(QuietWSGIRequestHandler):
    # A response is five writes of wsgiref's. Unbuffered, each of them wakes the client, which is a thread of this
    # process too; and by Nagle's algorithm the second one waits 40 ms for an ACK.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        super().handle_one_request()
        self.wfile.flush()  # Django's answer to a HEAD does not


class Server(ThreadedWSGIServer):
    """A server that knows its connections."""

    #: So many may come at one moment; the default of 10 would refuse some of 64.
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type, **kwargs: Any) -> None:
        super().__init__(address, Handler, **kwargs)
        self.answering: dict[threading.Thread, socket.socket] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.answer, args=(request, client_address), daemon=True)
        self.answering[thread] = request
        thread.start()

    def answer(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            del self.answering[threading.current_thread()]

    def end_connections(self, seconds: float = SECONDS) -> None:
        """Take no further request on the open connections, and wait until the begun ones are answered.

        Raises:
            AssertionError: one still runs after so many seconds.
        """
        deadline = time.monotonic() + seconds
        answering = list(self.answering.items())
        for _, connection in answering:
            with contextlib.suppress(OSError):  # it is closed meanwhile
                connection.shutdown(socket.SHUT_RD)
        for thread, _ in answering:
            thread.join(max(0, deadline - time.monotonic()))
        assert not self.answering, f"The live server still answers after {seconds} s."


class LiveServer(PytestLiveServer):
    """pytest-django's live server with our `Server`."""

    def __init__(self, address: str) -> None:
        super().__init__(address, start=False)
        self.thread.server_class = Server
        self.start()

    def end_connections(self) -> None:
        self.thread.httpd.end_connections()

    def stop(self) -> None:
        self.end_connections()
        super().stop()
