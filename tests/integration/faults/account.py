"""The account of a storm: was every 202 kept, and how long did it take?"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .client import FINAL
from .installation import Installation
from .plan import MUST_SUCCEED, Fault, Promise

__all__ = ["Break", "Death", "Record", "Request", "account", "broken_promises", "table", "too_slow"]

#: Requests within this many seconds of a fault of the web or the database count as requests during the fault.
MARGIN = 1.0
#: The reason in the history of a job whose worker was killed, or a child of its worker.
REASONS = {"kill": "lease", "child": "worker: lost"}


@dataclass(frozen=True)
class Request:
    """One request of a client. Times are in seconds since the beginning of the storm; status 0: no response."""

    what: str
    began: float
    ended: float
    status: int
    retry_after: bool


@dataclass(frozen=True)
class Break:
    """The time in which a part was broken, in seconds since the beginning of the storm."""

    part: str
    began: float
    ended: float


@dataclass(frozen=True)
class Death:
    """A worker was killed (kind "kill"), or one of its children ("child"), at this Unix time."""

    worker: str
    kind: str
    at: float


@dataclass
class Record:
    """What a storm did, and what its clients saw."""

    shop: Installation
    lease: float
    faults: list[Fault]
    promises: list[Promise]
    requests: list[Request] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    #: The final statuses that clients have seen, by the URL of the job.
    seen: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: Errors of the storm itself.
    mishaps: list[str] = field(default_factory=list)
    #: The Unix times at which the storm began, and at which all parts were back.
    began: float = 0.0
    back: float = 0.0

    def touches(self, request: Request, part: str, margin: float = MARGIN) -> bool:
        """Whether the part was broken during the request, or up to *margin* seconds before or after it."""
        return any(
            broken.part == part
            and request.ended > broken.began - margin
            and request.began < broken.ended + margin
            for broken in self.breaks
        )

    def database_away(self, start: float, end: float) -> float:
        """Return for how many seconds between two Unix times the database was broken."""
        breaks = [
            (broken.began + self.began, broken.ended + self.began)
            for broken in self.breaks
            if broken.part == "database"
        ]
        return sum(max(min(ended, end) - max(began, start), 0) for began, ended in breaks)


def account(record: Record) -> dict[str, Any]:
    """Return promises and times by their names. A list must be empty: it has what broke a promise."""
    database = record.shop.database
    rows = database.execute(
        "SELECT id::text, state, attempt, extract(epoch FROM finished_at), history FROM async_accept_job"
    )
    return {
        "accepted": sum(bool(promise.urls) for promise in record.promises),
        "faults": f"{len(record.breaks)} of {len(record.faults)}",
        "mishaps of the storm": record.mishaps + (["no fault"] if not record.breaks else []),
        "transitions": database.execute("SELECT count(*) FROM transitions")[0][0],
        "attempts": sum(row[2] for row in rows),
        **_promises(record, rows),
        **_requests(record),
        **_notices(record, rows),
        **_ends(record, rows),
        "the last to end": _last_to_end(record),
        "promises of the table broken": record.shop.violations(),
    }


def _promises(record: Record, rows: list[tuple[Any, ...]]) -> dict[str, list[str]]:
    database = record.shop.database
    states = {row[0]: row[1] for row in rows}
    finals = ", ".join(f"'{state}'" for state in FINAL)
    left_final = database.execute(f"SELECT job::text FROM transitions WHERE before IN ({finals})")
    undone = {job for (job,) in left_final}
    effects = Counter(key for (key,) in database.execute("SELECT key FROM drills_effect"))
    lost, changed, twice, two_urls, untrue, failed = [], [], [], [], [], []
    for promise in record.promises:
        if len(promise.urls) != 1:
            two_urls.append(promise.key)
        for url in promise.urls:
            job = _id(url)
            state = states.get(job)
            if state not in FINAL:
                lost.append(promise.key)
                continue
            if record.seen[url] - {state} or job in undone:
                changed.append(promise.key)
            if effects[promise.key] > 1:
                twice.append(promise.key)
            if (state == "succeeded") != (effects[promise.key] > 0):
                untrue.append(promise.key)
            if promise.mode in MUST_SUCCEED and state != "succeeded":
                failed.append(promise.key)
    return {
        "accepted without a final status": lost,
        "final statuses that changed": changed,
        "effects committed twice": twice,
        "one key, two URLs": two_urls,
        "success without its effect, failure with it": untrue,
        "sound jobs failed because of faults": failed,
    }


def _requests(record: Record) -> dict[str, Any]:
    accepts = [request for request in record.requests if request.what == "accept"]
    calm = [r for r in accepts if not record.touches(r, "web") and not record.touches(r, "database")]
    durations = sorted(request.ended - request.began for request in calm)
    # A killed web process answers nothing, so no response counts only while the web was not broken.
    outage = [
        request
        for request in record.requests
        if record.touches(request, "database", margin=0)
        and (request.status or not record.touches(request, "web"))
    ]
    failed = [request for request in outage if request.status >= 500 or not request.status]
    return {
        "slowest accept, s": round(durations[-1], 3) if durations else None,
        "p99 of accepts, s": round(durations[math.ceil(len(durations) * 0.99) - 1], 3) if durations else None,
        "accepts measured": len(durations),
        "responses while the database was down that are neither final nor 503 with Retry-After": [
            f"{r.what} {r.status} at {r.began:.1f}" for r in failed if not (r.status == 503 and r.retry_after)
        ],
        "slowest 503, s": round(max((r.ended - r.began for r in failed), default=0), 3),
        "503 responses": len(failed),
        "slowest response while the database was down, s": round(
            max((r.ended - r.began for r in outage), default=0), 3
        ),
        "5xx at other times": [
            f"{r.what} {r.status} at {r.began:.1f}"
            for r in record.requests
            if r.status >= 500 and r not in failed and not record.touches(r, "database")
        ],
    }


def _notices(record: Record, rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    """How long it took until an attempt ended whose worker or child was killed.

    A killed worker is noticed when the lease has expired. After that, the time without a database does not count.
    """
    spans: dict[str, list[float]] = {"kill": [], "child": []}
    for past in (past for row in rows if row[4] for past in json.loads(row[4])):
        began, ended = (_unix(past[name]) for name in ("started_at", "ended_at"))
        for death in record.deaths:
            same = death.worker == f"worker-{past['worker'].split('@')[0]}" and began < death.at < ended
            if same and past["reason"] == REASONS[death.kind]:
                away = record.database_away(death.at + record.lease, ended)
                spans[death.kind].append(ended - death.at - away)
    return {
        "deaths of workers and of children noticed": f"{len(spans['kill'])}; {len(spans['child'])}",
        "slowest notice of a killed worker, s": round(max(spans["kill"], default=0), 1),
        "slowest notice of a killed child, s": round(max(spans["child"], default=0), 1),
    }


def _ends(record: Record, rows: list[tuple[Any, ...]]) -> dict[str, float]:
    ended = {row[0]: float(row[3]) for row in rows if row[3] is not None}
    modes = {_id(url): promise.mode for promise in record.promises for url in promise.urls}
    ends = [at for job, at in ended.items() if job in modes]
    sound = [at for job, at in ended.items() if modes.get(job) in MUST_SUCCEED]
    return {
        "slowest end after all parts were back, s": round(max(max(ends, default=0) - record.back, 0), 1),
        "the same, of jobs that do not kill their process, s": round(
            max(max(sound, default=0) - record.back, 0), 1
        ),
    }


def _last_to_end(record: Record) -> str:
    """The row of the job that ended last, to see what it waited for."""
    query = "SELECT input, state, attempt, history, created_at, started_at, finished_at FROM async_accept_job"
    (row,) = record.shop.database.execute(f"{query} ORDER BY finished_at DESC NULLS FIRST LIMIT 1")
    return " ".join(map(str, row))


def _id(url: str) -> str:
    return url.rstrip("/").rsplit("/", 1)[1]


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def broken_promises(found: dict[str, Any]) -> list[str]:
    """Return the names of the promises that were broken. Times are judged by `too_slow()`."""
    return [name for name, value in found.items() if isinstance(value, list) and value]


def too_slow(found: dict[str, Any], lease: float) -> list[str]:
    """Return the times above their goals. The goals are for a machine that does nothing else."""
    goals = {
        "slowest accept, s": 2.0,
        "p99 of accepts, s": 0.3,
        "slowest response while the database was down, s": 5.0,
        "slowest end after all parts were back, s": 45.0,
        "slowest notice of a killed worker, s": lease + 5.0,
        "slowest notice of a killed child, s": 2.0,
    }
    return [
        f"{name}: {found[name]}, goal {goal}" for name, goal in goals.items() if (found[name] or 0) > goal
    ]


def table(found: dict[str, Any]) -> Iterator[str]:
    """Yield the account as lines of text."""
    for name, value in found.items():
        shown = f"{len(value)}  {value[:5] or ''}" if isinstance(value, list) else value
        yield f"{name:<90} {shown}"
