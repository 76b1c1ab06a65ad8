"""Jobs through one prefork process of a worker, and rows through a relay."""

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from ..brokers import RABBITMQ
from ..processes import Worker
from ..results import Row
from ..steps import Steps
from . import Session

#: What lets a worker keep its database connection.
KEPT = {"CELERY_DB_REUSE_MAX": "1000000"}
#: How long a round of work may take.
PATIENCE_SECONDS = 120.0


def jobs(session: Session) -> Iterator[Row]:
    """Jobs a second with Celery's defaults, for a plain and for an atomic task."""
    yield from _jobs(session, "jobs", {}, ">= 1.4 (1.6)")


def jobs_kept(session: Session) -> Iterator[Row]:
    """The same if the worker keeps its connection."""
    yield from _jobs(session, "jobs, kept", KEPT, ">= 3 (5)")


def _jobs(session: Session, figure: str, environment: dict[str, str], goal: str) -> Iterator[Row]:
    for kind in ("task", "atomic"):
        if not session.options.noise:
            yield _statements(session, f"{figure}, {kind}", environment, kind == "atomic")
        yield from _compare_jobs(f"{figure}, {kind}", environment, kind == "atomic", goal, session)


def _compare_jobs(
    figure: str, environment: dict[str, str], atomic: bool, goal: str, session: Session
) -> Iterator[Row]:
    found: list[dict[str, list[float]]] = [defaultdict(list), defaultdict(list)]
    with ExitStack() as stack:
        by_hand = stack.enter_context(_Started(session.steps["handwritten"], environment))
        ours = by_hand
        if not session.options.noise:
            ours = stack.enter_context(_Started(session.steps["ours"], environment, atomic))
        for side in (by_hand, ours):
            side.measure(10)
        for _ in range(session.options.rounds):
            for side, figures in zip((by_hand, ours), found, strict=True):
                for name, value in side.measure(session.options.count).items():
                    figures[name].append(value)
    other, our = found
    yield Row(figure, "jobs/s", "1/s", our["rate"], other["rate"], goal)
    yield Row(figure, "worker CPU a job", "ms", our["cpu"], other["cpu"])


class _Started(Worker):
    """A worker, and what fills its queue while it is frozen."""

    def __init__(self, steps: Steps, environment: dict[str, str], atomic: bool = False) -> None:
        steps.call("purge")
        super().__init__(steps.project, environment)
        self.steps = steps
        self.arguments = {"atomic": True} if atomic else {}

    def measure(self, count: int) -> dict[str, float]:
        self.freeze()
        self.steps.call("fill", count=count, **self.arguments)
        cpu = self.cpu_seconds()
        self.thaw()
        until = time.monotonic() + PATIENCE_SECONDS
        while self.steps.call("left"):
            if time.monotonic() > until:
                raise SystemExit(f"{count} jobs have not ended in {PATIENCE_SECONDS} s.")
            time.sleep(0.05)
        cpu = self.cpu_seconds() - cpu
        span = self.steps.call("span")
        if span["count"] != count:
            raise SystemExit(f"{span['count']} of {count} jobs have succeeded.")
        return {"rate": count / span["seconds"], "cpu": cpu * 1000 / count}


def _statements(session: Session, figure: str, environment: dict[str, str], atomic: bool) -> Row:
    found: dict[str, float] = {}
    for project in ("ours", "handwritten"):
        with tempfile.TemporaryDirectory() as folder:
            counts = Path(folder) / "counts"
            counts.touch()
            counting = {**environment, "BENCH_COUNT_FILE": str(counts)}
            with _Started(session.steps[project], counting, atomic and project == "ours") as side:
                side.measure(10)
            found[project] = median(map(int, counts.read_text().split()))
    return Row(figure, "statements a job", "", [found["ours"]], [found["handwritten"]], "<= 4 (3) (other 10)")


def relay_redis(session: Session) -> Iterator[Row]:
    yield from _compare_relays("relay, Redis", {}, session, ">= 15 (25)")


def relay_rabbitmq(session: Session) -> Iterator[Row]:
    yield from _compare_relays(
        "relay, RabbitMQ", {"CELERY_BROKER_URL": RABBITMQ}, session, ">= 5 (10), confirms"
    )


def _compare_relays(figure: str, environment: dict[str, str], session: Session, goal: str) -> Iterator[Row]:
    """Compare our relay with one row in each transaction; ours gets five times as many rows, or it ends too soon."""
    found: list[dict[str, list[float]]] = [defaultdict(list), defaultdict(list)]
    with ExitStack() as stack:
        by_hand = stack.enter_context(Steps("handwritten", environment))
        ours = by_hand
        if not session.options.noise:
            ours = stack.enter_context(Steps("ours", environment))
        for round_ in range(-1, session.options.rounds):
            for steps, figures in zip((by_hand, ours), found, strict=True):
                took = _relay(steps, session.options.count)
                if round_ >= 0:
                    figures["rate"].append(took["count"] / took["seconds"])
                    figures["cpu"].append(took["cpu"] * 1000 / took["count"])
    other, our = found
    yield Row(figure, "rows/s", "1/s", our["rate"], other["rate"], goal)
    yield Row(figure, "CPU a row", "ms", our["cpu"], other["cpu"])


def _relay(steps: Steps, count: int) -> dict[str, Any]:
    due = count * 5 if steps.project == "ours" else count
    steps.call("due", count=due)
    took: dict[str, Any] = steps.call("relay")
    messages = steps.call("purge")
    if not took["count"] == messages == due:
        raise SystemExit(f"Of {due} rows {took['count']} were published, and {messages} came.")
    return took


def idle(session: Session) -> Iterator[Row]:
    """What relays with nothing to do ask, all together."""
    seconds = session.options.seconds * 5
    for relays in (1, 50):
        found = [
            session.steps["ours"].call("idle", relays=relays, seconds=seconds)
            for _ in range(min(session.options.rounds, 3))
        ]
        figure = f"idle relays: {relays}"
        statements = [each["statements"] for each in found]
        yield Row(figure, "statements/s together", "1/s", statements, [], "<= 5" if relays == 50 else "")
        yield Row(figure, "CPU together", "cores", [each["cpu"] for each in found])
