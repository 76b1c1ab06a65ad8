"""The account of the notices of a storm: was each ended job told, under one id, and not again after a 2xx?"""

from collections import Counter
from typing import Any
from uuid import UUID

from . import witness
from .client import FINAL
from .inbox import Try
from .record import Record
from .witness import Step, job_id

__all__ = ["notices"]

#: If one of these was broken when a 2xx was on its way back, or was about to be stored, it may have been lost.
HIDE = ("worker-notices", "worker-notices to database", "worker-notices to inbox", "database", "inbox")
COLUMNS = "id, job_id, event, state, attempt, sequence"


def notices(record: Record, outcomes: dict[str, Any]) -> dict[str, Any]:
    """Return promises by their names. A list must be empty: it has what broke a promise.

    Args:
        outcomes: by job, its `Outcome`.
    """
    database = record.shop.database
    rows = {
        f"msg_{UUID(str(row[0])).hex}": (job_id(row[1]), *row[2:])
        for row in database.execute(f"SELECT {COLUMNS} FROM async_accept_webhooks_delivery")
    }
    return judge(record, outcomes, rows, record.shop.inbox.tries_by_id(), witness.read_steps(database))


def judge(
    record: Record,
    outcomes: dict[str, Any],
    rows: dict[str, tuple[Any, ...]],
    tries: dict[str, list[Try]],
    steps: list[Step],
) -> dict[str, Any]:
    """Compare what came in with what should have.

    Args:
        rows: by `webhook-id`: job, event, state, attempts and number of each delivery.
        tries: by `webhook-id`, in their order.
    """
    heard = {pk: [came for came in all_tries if came.is_heard] for pk, all_tries in tries.items()}
    perhaps = {pk: [came for came in all_tries if came.may_be_heard] for pk, all_tries in tries.items()}
    told = {rows[pk][:2]: ones[0] for pk, ones in perhaps.items() if pk in rows and ones}
    ended = {
        (job, f"job.{outcome.state}"): outcome for job, outcome in outcomes.items() if outcome.state in FINAL
    }
    numbers = sorted(row[4] or 0 for row in rows.values())
    latest = max((told[end].ended for end in ended if end in told), default=0.0)
    all_tries = [came for ones in tries.values() for came in ones]
    return {
        "notices; tries": f"{len(rows)}; {len(all_tries)}",
        "tries, by answer": ", ".join(
            f"{manner}: {n}" for manner, n in sorted(Counter(came.manner for came in all_tries).items())
        ),
        "tries again after a 2xx that a fault hid": sum(len(ones) - 1 for ones in heard.values() if ones),
        "slowest notice after all parts were back, s": round(max(latest - record.back, 0), 1),
        "ended jobs without their notice": [
            f"{job} {event}" for job, event in ended if (job, event) not in told
        ],
        "ends with more than one notice": [
            job for job, count in Counter(row[0] for row in rows.values()).items() if count > 1
        ],
        "deliveries that did not end as delivered": [
            f"{pk} {row[2]}" for pk, row in rows.items() if row[2] != "delivered"
        ],
        "notices that are forged, or not true": [
            f"{came.id} {wrong}" for came in all_tries if (wrong := _wrong(came, rows.get(came.id), ended))
        ],
        "notices that changed between their tries": [
            pk for pk, ones in tries.items() if len({came.body for came in ones}) > 1
        ],
        "notices sent again after their 2xx was stored": _after_the_end(steps),
        "notices sent again after a 2xx that no fault hid": _without_reason(record, heard),
        "more tries of a notice than attempts": [
            f"{pk} {len(ones)}" for pk, ones in tries.items() if pk in rows and len(ones) > rows[pk][3]
        ],
        "gaps in the numbers of notices": [] if numbers == list(range(1, len(rows) + 1)) else numbers,
        "redirects that were followed": record.shop.inbox.astray,
    }


def _wrong(came: Try, row: tuple[Any, ...] | None, ended: dict[tuple[str, str], Any]) -> str:
    """Return what is wrong with a notice: it is not signed by us, or says what is not so."""
    if came.error or row is None:
        return came.error or "unknown"
    document = came.document
    job, event = document["data"]["id"], document["type"]
    says = (job, event, document["data"]["status"], document["sequence"])
    right = (*row[:2], event.removeprefix("job."), row[4])
    return "" if says == right and (job, event) in ended else f"{says}, {row}"


def _after_the_end(steps: list[Step]) -> list[str]:
    delivered: set[str] = set()
    again = []
    for step in steps:
        if step.delivery in delivered:
            again.append(f"{step.delivery} {step.new}")
        if step.new == "delivered":
            delivered.add(step.delivery)
    return again


def _without_reason(record: Record, heard: dict[str, list[Try]]) -> list[str]:
    return [
        f"{came.id} at {came.began - record.began:.1f} s: {came.manner}"
        for ones in heard.values()
        for came in ones[:-1]
        if not record.touched(came.began - record.began, came.ended - record.began, HIDE)
    ]
