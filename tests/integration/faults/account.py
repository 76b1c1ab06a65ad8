"""The account of a storm: was every 202 kept?"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from . import times, witness
from .client import FINAL
from .notices import notices
from .plan import Promise
from .record import Record
from .results import result_of
from .witness import job_id

__all__ = ["account", "broken_promises", "failures", "table"]

#: What was broken, by what was promised.
Found = dict[str, list[str]]


@dataclass
class Outcome:
    """What became of one job, as the witness and the tables know it."""

    #: Its final state. The row of a deleted job is gone, but the witness has seen its end.
    state: str = ""
    #: Its state in the table; empty if it has no row.
    row: str = ""
    rerun_of: str = ""
    rerun_as: str = ""
    effects: int = 0
    #: The kind of the exception that has failed it; empty if none has.
    error: str = ""
    ended_at: float = 0.0
    #: What changed after its end, or after somebody had canceled it.
    afterwards: list[str] = field(default_factory=list)


def account(record: Record) -> dict[str, Any]:
    """Return promises and times by their names. A list must be empty: it has what broke a promise."""
    database = record.shop.database
    rows = database.execute("SELECT id, state, rerun_of, rerun_as, attempt, history FROM async_accept_job")
    changes = witness.read(database)
    outcomes = _outcomes(rows, changes, database.execute("SELECT job FROM drills_effect"))
    for job, error in failures(database).items():
        outcomes[job].error = error
    ended = {job: outcome.ended_at for job, outcome in outcomes.items() if outcome.ended_at}
    return {
        "accepted": sum(bool(promise.urls) for promise in record.promises),
        "accepted, by kind of work": _count(promise.work for promise in record.promises if promise.urls),
        "faults": f"{len(record.breaks)} of {len(record.faults)}",
        "faults, by kind": _count(fault.kind.split()[0] for fault in record.faults),
        "ends, by state": _count(outcome.state for outcome in outcomes.values()),
        "canceled, run again, deleted": "; ".join(map(str, _next_counts(record))),
        "mishaps of the storm": record.mishaps + (["no fault"] if not record.breaks else []),
        "transitions": len(changes),
        "attempts": sum(change.new == "running" for change in changes),
        **_promises(record, outcomes),
        **_next(record, outcomes),
        **_seen(record, outcomes),
        **notices(record, outcomes),
        **times.requests(record),
        **times.deaths(record, [(row[0], row[5]) for row in rows], changes),
        **times.ends(record, ended),
        "the last to end": _last_to_end(record, ended),
        "promises of the table broken": record.shop.violations(),
    }


def failures(database: Any) -> dict[str, str]:
    """Return the kinds of the exceptions that failed jobs, by the ids of these."""
    rows = database.execute(
        "SELECT task_id, result FROM django_celery_results_taskresult WHERE status = 'FAILURE'"
    )
    return {job_id(pk): json.loads(result)["exc_type"] for pk, result in rows}


def _count(values: Any) -> str:
    return ", ".join(f"{value} {number}" for value, number in sorted(Counter(values).items()))


def _next_counts(record: Record) -> tuple[int, int, int]:
    canceled, rerun, deleted = (
        [promise for promise in record.promises if promise.next == name]
        for name in ("cancel", "rerun", "delete")
    )
    return (
        sum(any(status in (200, 202) for status, _ in promise.answers) for promise in canceled),
        sum(bool(promise.rerun_urls) for promise in rerun),
        sum(any(status in (202, 204) for status, _ in promise.answers) for promise in deleted),
    )


def _outcomes(rows: list[Any], changes: list[witness.Change], effects: list[Any]) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = defaultdict(Outcome)
    for pk, state, rerun_of, rerun_as, *_ in rows:
        found = outcomes[job_id(pk)]
        found.row = state
        found.rerun_of = job_id(rerun_of) if rerun_of else ""
        found.rerun_as = job_id(rerun_as) if rerun_as else ""
    for change in changes:
        found = outcomes[change.job]
        if found.state or (change.old == "canceling" and change.new not in FINAL):
            found.afterwards.append(f"{change.old} to {change.new}")
        if change.new in FINAL:
            found.state, found.ended_at = change.new, change.at
    for (pk,) in effects:
        if pk:
            outcomes[job_id(pk)].effects += 1
    return outcomes


def _jobs(promise: Promise) -> list[str]:
    """Return the job of a promise, and the one that a rerun has made."""
    return [job_id(url) for url in (*promise.urls, *promise.rerun_urls)]


def _promises(record: Record, outcomes: dict[str, Outcome]) -> Found:
    found: Found = {
        name: []
        for name in (
            "accepted without a final status",
            "final statuses that changed",
            "effects committed twice",
            "one key, two URLs",
            "success without its effect, failure with it",
            "sound jobs failed because of faults",
        )
    }
    lost, changed, twice, two_urls, untrue, failed = found.values()
    for promise in record.promises:
        if len(promise.urls) != 1 or len(promise.rerun_urls) > 1:
            two_urls.append(promise.key)
        for url, job in zip((*promise.urls, *promise.rerun_urls), _jobs(promise), strict=True):
            outcome = outcomes[job]
            if outcome.state not in FINAL:
                lost.append(promise.key)
                continue
            if (
                outcome.afterwards
                or record.seen[url] - {outcome.state}
                or outcome.row not in ("", outcome.state)
            ):
                changed.append(f"{promise.key} {outcome.afterwards}")
            least, most = promise.kind.effects[outcome.state == "succeeded"]
            if outcome.effects > max(most, 1):
                twice.append(promise.key)
            elif not least <= outcome.effects <= most:
                untrue.append(f"{promise.key} {outcome.state} {outcome.effects}")
            if promise.must_succeed and outcome.state != "succeeded":
                failed.append(promise.key)
    # Also those whose 202 never reached its client.
    lost += [job for job, outcome in outcomes.items() if outcome.row and outcome.row not in FINAL]
    return found


def _next(record: Record, outcomes: dict[str, Outcome]) -> Found:
    """Return what was wrong with cancellations, reruns and deletions."""
    found: Found = {
        "cancellations that were not kept": [],
        "reruns that are not linked, or not new": [],
        "deleted jobs that are still there": [],
    }
    canceled, rerun, deleted = found.values()
    for promise in record.promises:
        if not promise.next or len(promise.urls) != 1:
            continue
        job = _jobs(promise)[0]
        outcome = outcomes[job]
        if promise.next == "cancel" and not _cancel_was_kept(promise, outcome.state):
            canceled.append(f"{promise.key} {outcome.state} {promise.answers}")
        if promise.next == "rerun" and not _rerun_is_right(promise, job, outcomes):
            rerun.append(f"{promise.key} {promise.answers}")
        if promise.next == "delete":
            left = record.shop.disk.has_uploads_of(job)
            if outcome.row or left or not promise.answers or promise.answers[-1][0] not in (202, 204, 404):
                deleted.append(f"{promise.key} {outcome.row} {left} {promise.answers}")
    return found


def _cancel_was_kept(promise: Promise, state: str) -> bool:
    """Compare the final state with the last answer: 409 says that the job had ended otherwise."""
    if not promise.answers:
        return False
    match promise.answers[-1]:
        case (409, _):
            return state in ("succeeded", "failed")
        case (200, _) | (202, "canceled"):
            return state == "canceled"
        case (202, "canceling"):
            return state in FINAL
    return False


def _rerun_is_right(promise: Promise, job: str, outcomes: dict[str, Outcome]) -> bool:
    if not promise.rerun_urls:
        # Uploads are removed at the end of their job, and with them what a rerun would need.
        return promise.kind.has_file and bool(promise.answers) and promise.answers[-1][0] == 410
    again = _jobs(promise)[-1]
    return again != job and outcomes[again].rerun_of == job and outcomes[job].rerun_as == again


def _seen(record: Record, outcomes: dict[str, Outcome]) -> Found:
    """Return what clients and the disk have shown that is not true."""
    asked = [(promise, url) for promise in record.promises for url in (*promise.urls, *promise.rerun_urls)]

    def answer(of: tuple[Promise, str]) -> str:
        promise, url = of
        outcome = outcomes[job_id(url)]
        return result_of(url, promise, outcome.state, outcome.error, gone=url in record.deleted)

    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(answer, asked)
        wrong = [f"{promise.key} {text}" for (promise, _), text in zip(asked, answers, strict=True) if text]
    uploads = [
        promise.key
        for promise in record.promises
        for job in _jobs(promise)
        if promise.kind.has_file and record.shop.disk.has_uploads_of(job)
    ]
    return {
        "responses that cannot be true": record.untrue,
        "results that are not the genuine ones": wrong,
        "uploads left after the end": uploads,
        "halves of files left by a full disk": record.shop.disk.half_files(),
    }


def _last_to_end(record: Record, ended: dict[str, float]) -> str:
    """The row of the job that ended last, to see what it waited for."""
    query = "SELECT operation, input, state, attempt, history, created_at, started_at, finished_at"
    rows = record.shop.database.execute(
        f"{query} FROM async_accept_job WHERE id = %s", max(ended, key=lambda job: ended[job])
    )
    return " ".join(map(str, rows[0])) if rows else "a deleted job"


def broken_promises(found: dict[str, Any]) -> list[str]:
    """Return the names of the promises that were broken. Times are judged by `too_slow()`."""
    return [name for name, value in found.items() if isinstance(value, list) and value]


def table(found: dict[str, Any]) -> Iterator[str]:
    """Yield the account as lines of text."""
    for name, value in found.items():
        shown = f"{len(value)}  {value[:5] or ''}" if isinstance(value, list) else value
        yield f"{name:<95} {shown}"
