"""Hold event streams: what they cost while nothing happens, and how soon a change is told.

    python -m benchmarks.streams                       # 500 streams
    python -m benchmarks.streams --at-once 1000 5000   # and how many of so many can be opened at once

It starts a PostgreSQL of its own with 100 connections, and one process of uvicorn. Each stream is for a job of its own.
The jobs and the clients are shared out among ten users.
"""

import os
import random
import resource
import selectors
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from . import databases
from .common import token_of
from .load import percentile, request
from .options import options_parser
from .postgres import own_server
from .processes import ASGI
from .results import Report, Row
from .steps import Steps

USERS = 10
#: How long streams that are opened may take until their first event.
OPEN_SECONDS = 120.0
#: How long the slowest event may take.
LATEST_SECONDS = 10.0
#: The unit and the goal of what is measured.
MEASURES = {
    "memory of each": ("KiB", "<= 60"),
    "CPU of an idle server": ("% core", "<= 1"),
    "p50 to deliver": ("ms", ""),
    "p99 to deliver": ("ms", "<= 250"),
    "until the last": ("s", ""),
    "server CPU of each": ("ms", ""),
}


class Opened(NamedTuple):
    """How opening went."""

    streams: "dict[str, socket.socket]"
    refused: dict[str, int]
    seconds: float


def main() -> None:
    parser = options_parser(__doc__)
    parser.add_argument("--streams", type=int, default=500, help="how many wait (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="for how long (default: %(default)s)")
    parser.add_argument(
        "--changes", type=int, default=400, help="how many jobs change (default: %(default)s)"
    )
    parser.add_argument("--at-once", type=int, nargs="*", default=[], help="streams to open at once")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, help="the JSON file; by default one in benchmarks/results")
    given = parser.parse_args()
    most = max(given.streams, *given.at_once, 0) + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, hard), hard))
    with own_server() as url:
        os.environ["DATABASE_URL"] = url
        report = Report("streams", **{k: v for k, v in vars(given).items() if k != "output"})
        with databases.made("ours"), Steps("ours") as steps:
            steps.call("prepare", users=USERS)
            add(
                report,
                f"{given.streams} streams",
                [waiting(steps, given.streams, given.seconds, given.changes) for _ in range(given.rounds)],
                {"opened": str(given.streams), "events told": str(given.changes)},
            )
            for count in given.at_once:
                found = [at_once(steps, count) for _ in range(given.rounds)]
                add(report, f"{count} streams at once", found, {"opened": "all"})
        report.write(given.output)


def add(report: Report, figure: str, rounds: list[dict[str, float]], goals: dict[str, str]) -> None:
    """Add a row for each measure, with the figure of each round; 0 where a round has none."""
    for measure in dict.fromkeys(name for found in rounds for name in found):
        unit, goal = MEASURES.get(measure, ("", ""))
        values = [found.get(measure, 0) for found in rounds]
        report.add(Row(figure, measure[:26], unit, values, [], goals.get(measure, goal)))


def waiting(steps: Steps, count: int, seconds: float, changes: int) -> dict[str, float]:
    """Hold *count* streams, opened a few at a time, and return what was measured.

    Raises:
        SystemExit: not all of them were opened, or not every change was told.
    """
    targets = steps.call("streamed", count=count, users=USERS)
    with ASGI({}) as server:
        # What a first stream brings, such as the watcher and its connection, is not the streams' cost.
        first = open_streams(server.port, targets[:1], 1).streams
        empty = server.memory_bytes()
        opened = open_streams(server.port, targets[1:], 20)
        streams = {**first, **opened.streams}
        if len(streams) != count:
            raise SystemExit(f"{len(streams)} of {count} streams were opened: {opened.refused}")
        found = {
            "opened": len(streams),
            "memory of each": (server.memory_bytes() - empty) / 1024 / len(streams),
            "threads of the server": server.threads(),
        }
        time.sleep(1)
        cpu, began = server.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        cpu = (server.cpu_seconds() - cpu) / (time.monotonic() - began)
        told = sorted(deliver(steps, streams, seconds, changes))
        if len(told) != min(changes, count):
            raise SystemExit(f"{len(told)} of {changes} changes were told.")
        close(streams)
    return found | {
        "CPU of an idle server": cpu * 100,
        "events told": len(told),
        "p50 to deliver": percentile(told, 0.5) * 1000,
        "p99 to deliver": percentile(told, 0.99) * 1000,
    }


def at_once(steps: Steps, count: int) -> dict[str, float]:
    """Open *count* streams, all at once, and return how that went."""
    targets = steps.call("streamed", count=count, users=USERS)
    with ASGI({}) as server:
        cpu = server.cpu_seconds()
        opened = open_streams(server.port, targets, count)
        cpu = server.cpu_seconds() - cpu
        close(opened.streams)
    return {
        "opened": len(opened.streams),
        **{f"not opened: {answer}": number for answer, number in sorted(opened.refused.items())},
        "until the last": opened.seconds,
        "server CPU of each": cpu * 1000 / count,
    }


def open_streams(port: int, targets: list[tuple[str, int]], together: int) -> Opened:
    """Open streams, at most *together* of which wait for their first event, and return those that got one."""
    streams: dict[str, socket.socket] = {}
    refused: dict[str, int] = {}
    left = list(reversed(targets))
    began = last = time.monotonic()
    with selectors.DefaultSelector() as selector:
        while left or selector.get_map():
            while left and len(selector.get_map()) < together:
                path, user = left.pop()
                try:
                    sock = _open(port, path, user)
                except OSError as error:
                    refused[type(error).__name__] = refused.get(type(error).__name__, 0) + 1
                    continue
                selector.register(sock, selectors.EVENT_READ, [path, b""])
            for key, _ in selector.select(0.1):
                sock = key.fileobj  # type: ignore[assignment]
                received = b""
                with suppress(OSError):
                    received = sock.recv(65536)
                key.data[1] += received
                if b"\nevent: status" in key.data[1]:
                    streams[key.data[0]] = sock
                    last = time.monotonic()
                elif received and key.data[1].startswith(b"HTTP/1.1 200"):
                    continue
                else:
                    answer = key.data[1][9:12].decode() or "closed"
                    refused[answer] = refused.get(answer, 0) + 1
                    sock.close()
                selector.unregister(sock)
            if time.monotonic() - began > OPEN_SECONDS:
                refused["no answer"] = len(left) + len(selector.get_map())
                for key in list(selector.get_map().values()):
                    key.fileobj.close()  # type: ignore[union-attr]
                break
    return Opened(streams, refused, last - began)


def _open(port: int, path: str, user: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=OPEN_SECONDS)
    sock.sendall(request("GET", path, token_of(user), headers={"Accept": "text/event-stream"}))
    sock.setblocking(False)
    return sock


def deliver(steps: Steps, streams: dict[str, socket.socket], seconds: float, changes: int) -> list[float]:
    """Change jobs at random moments, and return how many seconds after each change its client was told."""
    rng = random.Random(202)
    paths = rng.sample(sorted(streams), min(changes, len(streams)))
    moments = sorted(rng.uniform(0, seconds) for _ in paths)
    changed: dict[str, float] = {}
    told: list[float] = []
    with selectors.DefaultSelector() as selector:
        for path, sock in streams.items():
            selector.register(sock, selectors.EVENT_READ, path)
        began = time.monotonic()
        plan = list(zip(moments, paths, strict=True))
        while plan or (len(told) < len(paths) and time.monotonic() - began < seconds + LATEST_SECONDS):
            if plan and time.monotonic() - began >= plan[0][0]:
                path = plan.pop(0)[1]
                steps.call("change", path=path)
                changed[path] = time.monotonic()
            for key, _ in selector.select(0.005):
                received = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if not received:
                    selector.unregister(key.fileobj)
                elif b"event: status" in received and key.data in changed:
                    told.append(time.monotonic() - changed.pop(key.data))
    return told


def close(streams: dict[str, socket.socket]) -> None:
    for sock in streams.values():
        sock.close()


if __name__ == "__main__":
    main()
