"""Accepting and polling: requests of eight clients at a time to gunicorn."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle
from typing import NamedTuple
from uuid import uuid4

from .. import databases
from ..common import token_of
from ..load import put_on, request
from ..orders import BODY
from ..processes import Web, cpu_seconds
from ..results import Row
from ..steps import Steps
from . import Session

#: How many jobs are polled in turn. So many that no client is throttled, and so few that each is looked at in a second.
POLLED = 10
#: How many are polled in turn if no two polls of one job shall come within a second.
POLLED_ONCE = 4000
#: How many keys are repeated in turn.
KEYS = 20
#: How many requests a server answers before it is measured.
WARM_UP = 100
TOKEN = token_of(0)
#: A measure that is the same each time.
STATEMENTS = "statements"
COUNTED = (STATEMENTS, "statements a job")


class Side(NamedTuple):
    """What one side of a pair is asked."""

    project: str
    requests: Callable[[Steps], Iterator[bytes]]
    status: int
    environment: dict[str, str] = {}
    #: How many messages each answer has to leave in the queue.
    messages: int = 0


def posts(steps: Steps) -> Iterator[bytes]:
    return cycle([request("POST", "/orders/", TOKEN, BODY)])


def posts_with_new_keys(steps: Steps) -> Iterator[bytes]:
    while True:
        yield request("POST", "/orders/", TOKEN, BODY, {"Idempotency-Key": uuid4().hex})


def posts_with_known_keys(steps: Steps) -> Iterator[bytes]:
    keys = [uuid4().hex for _ in range(KEYS)]
    return cycle([request("POST", "/orders/", TOKEN, BODY, {"Idempotency-Key": key}) for key in keys])


def polls(steps: Steps) -> Iterator[bytes]:
    return cycle([request("GET", path, TOKEN) for path, _ in steps.call("paths", count=POLLED)])


def polls_with_tags(count: int) -> Callable[[Steps], Iterator[bytes]]:
    def requests(steps: Steps) -> Iterator[bytes]:
        found = steps.call("paths", count=count)
        return cycle([request("GET", path, TOKEN, headers={"If-None-Match": tag}) for path, tag in found])

    return requests


BY_HAND = Side("handwritten", posts, 202, messages=1)
POLL_BY_HAND = Side("handwritten", polls, 200)


def accept(session: Session) -> Iterator[Row]:
    """An accept whose message is published after the commit."""
    yield _statements(session, "accept", "accept_statements", {}, "2 (other 4)")
    yield from compare(
        "accept", BY_HAND, Side("ours", posts, 202, messages=1), session, ">= 1.1 (1.3)", "<= 0.9 (0.75)"
    )


def accept_relay(session: Session) -> Iterator[Row]:
    """An accept whose message is left to the relay."""
    side = Side("ours", posts, 202, {"BENCH_LEAVE_TO_RELAY": "1"})
    yield from compare("accept, left to relay", BY_HAND, side, session, ">= 1.3 (1.6)", "<= 0.75 (0.6)")


def accept_key(session: Session) -> Iterator[Row]:
    """The first use of an Idempotency-Key, beside an accept by hand, which knows no keys."""
    yield _statements(session, "accept, new key", "accept_statements", {"with_key": True}, "2")
    side = Side("ours", posts_with_new_keys, 202, messages=1)
    yield from compare("accept, new key", BY_HAND, side, session, "", "<= 1.0")


def accept_repeat(session: Session) -> Iterator[Row]:
    """The repeat of a request with its key, beside an accept by hand."""
    side = Side("ours", posts_with_known_keys, 202)
    yield from compare("accept, repeat of key", BY_HAND, side, session, ">= 1.3", "")


def poll(session: Session) -> Iterator[Row]:
    yield _statements(session, "poll, 200", "poll_statements", {}, "2 (1) (other 3)")
    yield from compare("poll, 200", POLL_BY_HAND, Side("ours", polls, 200), session, "", "<= 0.7 (0.5)")


def poll_known(session: Session) -> Iterator[Row]:
    """A poll whose client has the document already, and asks no sooner than it was told; by hand there is no 304."""
    yield _statements(session, "poll, 304", "poll_statements", {"known": True}, "1 (0)")
    count = POLLED_ONCE if session.options.seconds >= 1 else POLLED
    side = Side("ours", polls_with_tags(count), 304)
    yield from compare("poll, 304", POLL_BY_HAND, side, session, "", "<= 0.5 (0.3)")


def poll_too_soon(session: Session) -> Iterator[Row]:
    """The same, but the process has looked at the row within a heartbeat: sooner than any client is told to ask."""
    arguments = {"known": True, "remembered": True}
    yield _statements(session, "poll, 304, too soon", "poll_statements", arguments, "")
    side = Side("ours", polls_with_tags(POLLED), 304)
    yield from compare("poll, 304, too soon", POLL_BY_HAND, side, session, "", "")


def _statements(session: Session, figure: str, name: str, arguments: dict[str, bool], goal: str) -> Row:
    count = len(session.steps["ours"].call(name, **arguments))
    by_hand = len(session.steps["handwritten"].call(name))
    return Row(figure, STATEMENTS, "", [count], [by_hand], goal)


def compare(
    figure: str, by_hand: Side, ours: Side, session: Session, rate_goal: str, cpu_goal: str
) -> Iterator[Row]:
    sides = (by_hand, by_hand if session.options.noise else ours)
    found: list[dict[str, list[float]]] = [defaultdict(list), defaultdict(list)]
    with ExitStack() as stack:
        started = [stack.enter_context(_Started(side, session.steps[side.project])) for side in sides]
        for each in started:
            each.warm_up()
        for _ in range(session.options.rounds):
            for each, figures in zip(started, found, strict=True):
                for name, value in each.measure(session.options.seconds).items():
                    figures[name].append(value)
    other, our = found
    goals = {"rate": ("requests/s", "1/s", rate_goal), "cpu": ("server CPU a request", "ms", cpu_goal)}
    goals |= {
        "database": ("database CPU a request", "ms", ""),
        "p50": ("p50", "ms", ""),
        "p99": ("p99", "ms", ""),
    }
    for name, (measure, unit, goal) in goals.items():
        yield Row(figure, measure, unit, our[name], other[name], goal)
    goal = "<= 2.5 itself" if figure == "accept" else ""
    yield Row(figure, "p99/p50", "", our["tail"], other["tail"], goal)


class _Started(Web):
    """A side with its server."""

    def __init__(self, side: Side, steps: Steps) -> None:
        super().__init__(side.project, side.environment)
        self.side = side
        self.steps = steps

    def warm_up(self) -> None:
        self.requests = self.side.requests(self.steps)
        answered = 0
        while answered < WARM_UP:
            answered += put_on(self.port, self.requests, 0.2, self.side.status).count
        self.steps.call("purge")

    def measure(self, seconds: float) -> dict[str, float]:
        backends = databases.backends(self.side.project)
        cpu, database = self.cpu_seconds(), cpu_seconds(backends)
        answers = put_on(self.port, self.requests, seconds, self.side.status)
        cpu, database = self.cpu_seconds() - cpu, cpu_seconds(backends) - database
        messages, expected = self.steps.call("purge"), answers.count * self.side.messages
        if messages != expected:
            raise SystemExit(f"{answers.count} answers have left {messages} messages, and not {expected}.")
        p50, p99 = answers.percentile(0.5), answers.percentile(0.99)
        return {
            "rate": answers.rate,
            "cpu": cpu * 1000 / answers.count,
            "database": database * 1000 / answers.count,
            "p50": p50 * 1000,
            "p99": p99 * 1000,
            "tail": p99 / p50,
        }
