"""A receiver of notices that fails, stalls and dies. It verifies and keeps what comes in."""

import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

from tests.webhooks.receiver import answer, drip, flood, hang_up

from .processes import free_port

__all__ = ["SECRET", "Inbox", "Manner", "Try", "moods", "well"]

SECRET = "whsec_ZmF1bHRzIGZhdWx0cyBmYXVsdHMgZmF1bHRzIGZhdWx0cw=="
#: A sender waits 10 s for an answer, from before it connects. One that takes less than the first is heard; one that
#: takes less than the second may be.
HEARD_SECONDS, PERHAPS_SECONDS = 8.0, 10.0


@dataclass(frozen=True)
class Manner:
    """One way to answer, and the status that its sender gets to know; 0: none."""

    name: str
    status: int
    behave: Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Try:
    """One request that came in. Times are Unix times."""

    id: str
    began: float
    body: bytes = field(repr=False)
    #: What is wrong with its signature.
    error: str = ""
    manner: str = ""
    #: What was answered; 0: nothing, or the sender was gone.
    status: int = 0
    ended: float = 0.0

    @property
    def is_heard(self) -> bool:
        """Whether a 2xx was sent in time. The sender may have died meanwhile."""
        return 200 <= self.status < 300 and self.ended - self.began < HEARD_SECONDS

    @property
    def may_be_heard(self) -> bool:
        """Whether a 2xx was sent, perhaps in time."""
        return 200 <= self.status < 300 and self.ended - self.began < PERHAPS_SECONDS

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


def well() -> Manner:
    return Manner("204", 204, answer(204))


def moods(seed: int) -> Callable[[], Manner]:
    """Return what chooses a manner for each request: four of five are answered well."""
    dice = random.Random(f"inbox {seed}")
    weights = {
        well: 80,
        lambda: Manner("503", 503, answer(503)): 5,
        lambda: Manner("429, seconds", 429, answer(429, Retry_After="2")): 2,
        lambda: Manner(
            "429, date", 429, answer(429, Retry_After=formatdate(time.time() + 2, usegmt=True))
        ): 2,
        lambda: Manner("redirect", 302, answer(302, Location="/astray")): 3,
        lambda: Manner("hang up", 0, hang_up): 3,
        lambda: Manner("late", 204, _after(3.0, answer(204))): 2,
        lambda: Manner("stall", 0, _after(12.0, hang_up)): 1,
        lambda: Manner("drip", 0, drip): 1,
        lambda: Manner("flood", 200, flood): 1,
    }
    return lambda: dice.choices(list(weights), weights=list(weights.values()))[0]()


def _after(seconds: float, behave: Any) -> Any:
    def later(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        behave(handler)

    return later


class Inbox:
    """A receiver on a port of its own, which can be killed, frozen and restarted like a part of an installation.

    Args:
        choose: returns the manner in which the next request is answered.
    """

    name = "inbox"

    def __init__(self, choose: Callable[[], Manner] = well) -> None:
        self.port = free_port()
        self.choose = choose
        self.tries: list[Try] = []
        #: The paths of requests that followed a redirect.
        self.astray: list[str] = []
        self.server: Server | None = None
        self.passes = threading.Event()
        self.passes.set()

    @property
    def runs(self) -> bool:
        return self.server is not None

    def tries_by_id(self) -> dict[str, list[Try]]:
        """Return the tries of each notice, the first one first."""
        found: dict[str, list[Try]] = defaultdict(list)
        for came in sorted(self.tries, key=lambda one: one.began):
            found[came.id].append(came)
        return found

    def is_ready(self) -> bool:
        return self.runs

    def start(self, *, wait: bool = True) -> None:
        self.server = Server(self)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), name="inbox", daemon=True).start()

    def kill(self) -> None:
        """Refuse new connections, and break those that are open."""
        server, self.server = self.server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            for handler in list(server.handlers):
                server.shutdown_request(handler.connection)

    def freeze(self) -> None:
        """Answer nothing until `thaw()`."""
        self.passes.clear()

    def thaw(self) -> None:
        self.passes.set()

    def stop(self) -> None:
        self.thaw()
        self.kill()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.handlers: set[Handler] = set()
        super().__init__(("127.0.0.1", inbox.port), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        inbox = self.server.inbox
        body = self.rfile.read(int(self.headers["Content-Length"]))
        came = Try(self.headers["webhook-id"], time.time(), body, _wrong(body, self.headers))
        inbox.tries.append(came)
        if self.path != "/hook":
            inbox.astray.append(self.path)
        self.server.handlers.add(self)
        inbox.passes.wait()
        manner = inbox.choose()
        came.manner = manner.name
        try:
            manner.behave(self)
            came.status = manner.status
        except OSError:
            pass  # the sender is gone
        finally:
            came.ended = time.time()
            self.server.handlers.discard(self)

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.inbox.astray.append(self.path)
        self.send_error(404)


def _wrong(body: bytes, headers: Any) -> str:
    """Return what a receiver would find wrong with the signature."""
    try:
        Webhook(SECRET).verify(body, dict(headers.items()), json_parse=False)
    except Exception as error:
        return repr(error)
    return ""
