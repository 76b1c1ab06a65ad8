"""How long it took: requests, until deaths were noticed, and the ends of jobs."""

import json
import math
from typing import Any

from .record import Record, Request
from .witness import Change, job_id

__all__ = ["deaths", "ends", "requests", "too_slow"]

#: The reason in the history of a job whose worker was killed, or a child of its worker.
REASONS = {"kill": "lease", "child": "worker: lost"}
#: What a request needs to be answered at all. The way to the broker is not among it.
NEEDED = ("web", "database", "web to database")


def requests(record: Record) -> dict[str, Any]:
    accepts = [request for request in record.requests if request.what == "accept"]
    calm = [r for r in accepts if not record.touches(r, *NEEDED) and not _met_full_disk(record, r)]
    durations = sorted(request.ended - request.began for request in calm)
    # A killed web process answers nothing, so no response counts only while the web was not broken.
    outage = [
        request
        for request in record.requests
        if record.touches(request, "database", "web to database", margin=0)
        and (request.status or not record.touches(request, "web"))
    ]
    failed = [
        request
        for request in outage
        if request.status >= 500 or (not request.status and not request.has_file)
    ]
    full = [request for request in record.requests if _met_full_disk(record, request)]
    return {
        "slowest accept, s": round(durations[-1], 3) if durations else None,
        "p99 of accepts, s": round(durations[math.ceil(len(durations) * 0.99) - 1], 3) if durations else None,
        "accepts measured": len(durations),
        "responses while the database was away that are neither final nor 503 with Retry-After": [
            str(r) for r in failed if not _is_clear(r)
        ],
        "slowest 503, s": round(max((r.ended - r.began for r in failed), default=0), 3),
        "503 responses": len(failed),
        "slowest response while the database was away, s": round(
            max((r.ended - r.began for r in outage), default=0), 3
        ),
        "uploads refused because the disk was full": sum(r.status >= 500 for r in full),
        "responses to uploads while the disk was full that are neither 202 nor 503 with Retry-After": [
            str(r) for r in full if r.status >= 500 and not _is_clear(r)
        ],
        "5xx, or no response, at other times": [
            str(r)
            for r in record.requests
            if (r.status >= 500 or (not r.status and not record.touches(r, "web")))
            and r not in failed
            and r not in full
            and not record.touches(r, "database", "web to database")
        ],
    }


def _is_clear(request: Request) -> bool:
    return request.status == 503 and request.retry_after


def _met_full_disk(record: Record, request: Request) -> bool:
    return request.has_file and record.touches(request, "disk", margin=0.2)


def deaths(record: Record, rows: list[tuple[Any, ...]], changes: list[Change]) -> dict[str, Any]:
    """How long it took until an attempt ended whose worker or child was killed.

    A killed worker is noticed when the lease has expired. After that, the time without a database does not count.

    Args:
        rows: id and history of each job. The times come from *changes*, because a worker's clock may be wrong.
    """
    began = {(change.job, change.attempt): change for change in changes if change.new == "running"}
    ended = {(change.job, change.attempt): change.at for change in changes if change.old == "running"}
    spans: dict[str, list[float]] = {"kill": [], "child": []}
    for job, past in [(job_id(job), past) for job, history in rows for past in json.loads(history or "[]")]:
        start, end = began.get((job, past["attempt"])), ended.get((job, past["attempt"]))
        if start is None or end is None:
            continue
        worker = f"worker-{start.worker.split('@')[0]}"
        for death in record.deaths:
            if death.worker == worker and start.at < death.at < end and past["reason"] == REASONS[death.kind]:
                away = record.database_away(death.at + record.lease, end)
                spans[death.kind].append(end - death.at - away)
    return {
        "deaths of workers and of children noticed": f"{len(spans['kill'])}; {len(spans['child'])}",
        "slowest notice of a killed worker, s": round(max(spans["kill"], default=0), 1),
        "slowest notice of a killed child, s": round(max(spans["child"], default=0), 1),
    }


def ends(record: Record, ended: dict[str, float]) -> dict[str, float]:
    """How long it took after the storm until all jobs had ended.

    Args:
        ended: by job, the Unix time of its end.
    """
    kills = {job_id(url): promise.mode == "exit" for promise in record.promises for url in promise.urls}
    all_ends = [at for job, at in ended.items() if job in kills]
    others = [at for job, at in ended.items() if kills.get(job) is False]
    return {
        "slowest end after all parts were back, s": round(max(max(all_ends, default=0) - record.back, 0), 1),
        "the same, of jobs that do not kill their process, s": round(
            max(max(others, default=0) - record.back, 0), 1
        ),
    }


def too_slow(found: dict[str, Any], lease: float) -> list[str]:
    """Return the times above their goals. The goals are for a machine that does nothing else."""
    goals = {
        "slowest accept, s": 2.0,
        "p99 of accepts, s": 0.3,
        "slowest response while the database was away, s": 10.0,
        "slowest end after all parts were back, s": 45.0,
        "slowest notice of a killed worker, s": lease + 5.0,
        "slowest notice of a killed child, s": 2.0,
    }
    return [
        f"{name}: {found[name]}, goal {goal}" for name, goal in goals.items() if (found[name] or 0) > goal
    ]
