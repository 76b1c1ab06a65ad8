"""Send notices to a receiver that is well, beside others that are well, slow and blocked.

    python -m benchmarks.notices

The one that is well gets a notice every 100 ms. The other one, on another host, gets as many, 50 at a time: the slow
one answers 204 after seven seconds, the blocked one takes the connection and says nothing. One worker with 20 threads
sends. A time is that from the end of a job until its notice is there, in the benchmark's own process.
"""

import argparse
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from . import brokers, databases
from .load import percentile
from .options import options_parser
from .processes import Process, settings_of
from .results import Report, Row
from .steps import Steps

#: How many notices a second are for each receiver, and how many at a time for the one that is not well.
RATE = 10
BURST = 50
SLOW_SECONDS = 7.0
#: How long the worker waits for an answer, and a little more.
BLOCKED_SECONDS = 12.0
#: In the first seconds nobody knows yet that a host is slow: a burst may take all threads, for ten seconds at most.
UNKNOWN_SECONDS = 15.0
#: For how long a notice is waited for after the last job has ended.
LATEST_SECONDS = 20.0

Moments = dict[str, float]


class Sender(Process):
    """A worker for notices."""

    def __init__(self, threads: int) -> None:
        command = ["celery", "-A", "benchmarks.told", "worker", "-P", "threads", "-c", str(threads)]
        command += ["-Q", f"{databases.name_of('told')}_webhooks", "-l", "ERROR", "-n", "told@bench"]
        environment = {**settings_of("told"), "PYTHONWARNINGS": "ignore::UserWarning"}
        super().__init__(
            [*command, "--without-gossip", "--without-mingle"], environment, stdout=subprocess.DEVNULL
        )


@contextmanager
def receiver(address: str, answer: Callable[[], int]) -> Iterator[tuple[str, Moments]]:
    """Yield the URL of a receiver, and when it got the notice of each job.

    Args:
        answer: waits as long as the receiver does, and returns the status; 0: none.
    """
    came: Moments = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.setdefault(json.loads(body)["data"]["id"], time.time())
            if status := answer():
                self.send_response_only(status)
                self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

        def handle_error(self, *args: object) -> None:
            pass  # the worker has given up

    server = Server((address, 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://{address}:{server.server_port}/", came
    finally:
        server.shutdown()
        server.server_close()


def well() -> int:
    return 204


def slow() -> int:
    time.sleep(SLOW_SECONDS)
    return 204


def blocked() -> int:
    time.sleep(BLOCKED_SECONDS)
    return 0


#: What the others are compared with.
BASE = "beside one that is well"
#: By figure: what is beside the one that is well.
FIGURES: dict[str, Callable[[], int] | None] = {
    "alone": None,
    BASE: well,
    "beside a slow one": slow,
    "beside a blocked one": blocked,
}


def main() -> None:
    parser = options_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="how often (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60, help="for how long each time (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=20, help="of the worker (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="the JSON file; by default one in benchmarks/results")
    given = parser.parse_args()
    report = Report("notices", **{k: v for k, v in vars(given).items() if k != "output"})
    brokers.need(brokers.url())
    with databases.made("told"), Steps("told") as steps:
        steps.call("prepare")
        rounds = [
            {figure: measure(steps, other, given) for figure, other in FIGURES.items()}
            for _ in range(given.rounds)
        ]
    for figure in FIGURES:
        for measured, unit in (("told", ""), ("p50", "ms"), ("p99 at first", "ms"), ("p99 afterwards", "ms")):
            both = [each for each in rounds if measured in each[figure] and measured in each[BASE]]
            if not both:
                continue
            ours = [each[figure][measured] for each in both]
            base = [each[BASE][measured] for each in both] if figure not in ("alone", BASE) else []
            report.add(Row(figure, measured, unit, ours, base, "1" if measured == "told" else ""))
    report.write(given.output)


def measure(steps: Steps, other: Callable[[], int] | None, given: argparse.Namespace) -> dict[str, float]:
    """Tell the receivers for a while, and return how soon the one that is well was told."""
    plan = [(n / RATE, "well") for n in range(int(given.seconds * RATE))]
    with ExitStack() as stack:
        url, came = stack.enter_context(receiver("127.0.0.1", well))
        urls = {"well": url}
        if other is not None:
            urls["other"], _ = stack.enter_context(receiver("127.0.0.2", other))
            plan += [(n // BURST * BURST / RATE, "other") for n in range(len(plan))]
        steps.call("begin", urls=urls)
        stack.enter_context(Sender(given.threads))
        steps.call("tell", plan=[(0.0, "well")])  # until the worker is there
        until(lambda: came)
        began = time.time()
        ended = steps.call("tell", plan=plan)
        until(lambda: len(came) > given.seconds * RATE)
    return summary(ended, came, began + min(UNKNOWN_SECONDS, given.seconds / 2), int(given.seconds * RATE))


def summary(ended: Moments, came: Moments, known: float, count: int) -> dict[str, float]:
    """Return how many notices came, and times in milliseconds; *known* is when the first time is over.

    A time of which there was no notice is left out.
    """
    took = {job: (came[job] - ended[job]) * 1000 for job in came if job in ended}
    times = {
        "p50": list(took.values()),
        "p99 at first": [ms for job, ms in took.items() if ended[job] < known],
        "p99 afterwards": [ms for job, ms in took.items() if ended[job] >= known],
    }
    found = {
        name: percentile(sorted(all_ms), 0.5 if name == "p50" else 0.99)
        for name, all_ms in times.items()
        if all_ms
    }
    return {**found, "told": len(took) / count}


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LATEST_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


if __name__ == "__main__":
    main()
