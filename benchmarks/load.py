"""A client that costs little: one thread, prepared requests, and a new connection for each.

gunicorn's default kind of worker closes a connection after its answer.
"""

import selectors
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

CONCURRENCY = 8
#: How long a server may keep a client waiting.
PATIENCE_SECONDS = 30.0


class Answers(NamedTuple):
    count: int
    seconds: float
    #: Sorted, in seconds.
    latencies: list[float]

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    def percentile(self, share: float) -> float:
        return percentile(self.latencies, share)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which that *share* of the sorted *values* lies."""
    return values[min(int(len(values) * share), len(values) - 1)]


class Flight:
    """A request that is on its way."""

    def __init__(self, port: int, request: bytes) -> None:
        self.began = time.perf_counter()
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.sendall(request)
        self.sock.setblocking(False)
        self.head = b""

    def read(self) -> bool:
        """Read what is there; True at the end."""
        received = self.sock.recv(65536)
        if len(self.head) < 16:
            self.head += received[:64]
        return not received


def request(
    method: str, path: str, token: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> bytes:
    lines = {"Host": "127.0.0.1", "Authorization": f"Token {token}", "Accept": "application/json"}
    if body:
        lines |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines |= {"Connection": "close", **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def put_on(
    port: int, requests: Iterator[bytes], seconds: float, status: int, concurrency: int = CONCURRENCY
) -> Answers:
    """Send *requests* for so many seconds, *concurrency* at a time, and wait for the last answers.

    Raises:
        SystemExit: the answer to one of them has another *status*.
    """
    expected = f"HTTP/1.1 {status} ".encode()
    latencies: list[float] = []
    began = time.perf_counter()
    with selectors.DefaultSelector() as selector:

        def send() -> None:
            flight = Flight(port, next(requests))
            selector.register(flight.sock, selectors.EVENT_READ, flight)

        for _ in range(concurrency):
            send()
        while selector.get_map():
            ready = selector.select(PATIENCE_SECONDS)
            if not ready:
                raise SystemExit(f"No answer for {PATIENCE_SECONDS} s.")
            for key, _ in ready:
                flight: Flight = key.data
                if not flight.read():
                    continue
                now = time.perf_counter()
                selector.unregister(flight.sock)
                flight.sock.close()
                if not flight.head.startswith(expected):
                    raise SystemExit(f"{flight.head[:64]!r} is not a {status}.")
                latencies.append(now - flight.began)
                if now - began < seconds:
                    send()
    return Answers(len(latencies), time.perf_counter() - began, sorted(latencies))
