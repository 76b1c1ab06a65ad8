"""The account of a storm finds each kind of broken promise, and none in a storm without one."""

import json
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from .account import Outcome, _next, _outcomes, _promises
from .inbox import Try
from .notices import judge
from .plan import Promise
from .record import Break, Record
from .results import is_right_failure
from .witness import Change, Step, job_id

JOB, AGAIN = "01a2238a-a5f2-7211-92d0-4ff9a6fb5204", "01a2238a-a5f2-7211-92d0-4ff9a6fb5205"
URL = f"http://shop/api/jobs/{JOB}/"
AGAIN_URL = f"http://shop/api/jobs/{AGAIN}/"


def promise(work: str = "drill", mode: str = "ok", **columns: Any) -> Promise:
    return Promise("key", work, mode, 0, 0.0, **{"urls": {URL}, **columns})


def broken(made: Promise, outcomes: dict[str, Outcome], seen: str = "", left: bool = False) -> list[str]:
    shop: Any = SimpleNamespace(disk=SimpleNamespace(has_uploads_of=lambda job: left))
    record = Record(shop, 3.0, [], [made])
    if seen:
        record.seen[URL].add(seen)
    found = {**_promises(record, outcomes), **_next(record, outcomes)}
    return [name for name, values in found.items() if values]


def done(state: str = "succeeded", row: str = "", **columns: Any) -> Outcome:
    return Outcome(state, row or state, **{"effects": int(state == "succeeded"), **columns})


@pytest.mark.parametrize(
    ("made", "outcome", "name"),
    [
        (promise(), done("", "running"), "accepted without a final status"),
        (promise(), done(row="failed"), "final statuses that changed"),
        (promise(), done(afterwards=["failed to succeeded"]), "final statuses that changed"),
        (promise(), done(effects=2), "effects committed twice"),
        (promise(urls={URL, AGAIN_URL}), done(), "one key, two URLs"),
        (promise(), done(effects=0), "success without its effect, failure with it"),
        (promise("upload"), done(effects=0), "success without its effect, failure with it"),
        (promise("plain"), done(effects=0), "success without its effect, failure with it"),
        (
            promise("replay", "raise"),
            done("failed", effects=1),
            "success without its effect, failure with it",
        ),
        (promise("once"), done(effects=2), "effects committed twice"),
        (promise(), done("failed"), "sound jobs failed because of faults"),
        (
            promise(next="cancel", answers=[(200, "canceled")]),
            done(),
            "cancellations that were not kept",
        ),
        (promise(next="cancel", answers=[(409, "")]), done("canceled"), "cancellations that were not kept"),
        (promise(next="cancel"), done(), "cancellations that were not kept"),
        (promise(next="delete", answers=[(204, "")]), done(), "deleted jobs that are still there"),
        (
            promise(next="rerun", answers=[(202, "")], rerun_urls={AGAIN_URL}),
            done(),
            "reruns that are not linked, or not new",
        ),
        (promise(next="rerun", answers=[(410, "")]), done(), "reruns that are not linked, or not new"),
    ],
)
def test_broken_promise_is_found(made: Promise, outcome: Outcome, name: str) -> None:
    assert name in broken(made, {JOB: outcome, AGAIN: done(rerun_of="")})


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        (promise(), done()),
        (promise(mode="raise"), done("failed")),
        (promise("plain"), done(effects=3)),
        (promise("plain", "raise"), done("failed", effects=2)),
        (promise("once"), done("failed", effects=1)),
        (promise("look"), done(effects=0)),
        (promise(next="cancel", answers=[(0, ""), (200, "canceled")]), done("canceled")),
        (promise(next="cancel", answers=[(202, "canceling")]), done()),
        (
            promise(next="rerun", answers=[(409, ""), (202, "")], rerun_urls={AGAIN_URL}),
            done(rerun_as=AGAIN),
        ),
        (promise("upload", next="rerun", answers=[(410, "")]), done()),
    ],
)
def test_kept_promise_is_no_fault(made: Promise, outcome: Outcome) -> None:
    assert broken(made, {JOB: outcome, AGAIN: done(rerun_of=JOB)}) == []


@pytest.mark.parametrize(
    ("work", "mode", "code", "error", "is_right"),
    [
        ("once", "ok", "lost", "", True),
        ("once", "ok", "failed", "OperationalError", True),
        ("once", "ok", "failed", "KeyError", False),
        ("drill", "ok", "failed", "OperationalError", False),
        ("drill", "raise", "failed", "DrillError", True),
    ],
)
def test_work_fails_by_itself_or_is_lost(work: str, mode: str, code: str, error: str, is_right: bool) -> None:
    answer = SimpleNamespace(status_code=409, json=lambda: {"code": code})
    assert is_right_failure(answer, promise(work, mode), "failed", error) == is_right


def test_deleted_job_has_neither_row_nor_uploads() -> None:
    made = promise("upload", next="delete", answers=[(204, "")])
    gone = Outcome("succeeded", effects=1)
    assert broken(made, {JOB: gone}) == []
    assert broken(made, {JOB: gone}, left=True) == ["deleted jobs that are still there"]


def test_final_status_that_a_client_saw_must_stay() -> None:
    assert broken(promise(), {JOB: done()}, seen="failed") == ["final statuses that changed"]


def test_witness_tells_the_end_of_a_job_and_what_came_after_it() -> None:
    states = ["accepted", "running", "canceling", "accepted", "running", "succeeded", "failed"]
    changes = [
        Change(JOB, old, new, 1, "one@faults", float(at)) for at, (old, new) in enumerate(pairwise(states))
    ]
    found = _outcomes([], changes, [(JOB,)])[JOB]
    assert found.afterwards == ["canceling to accepted", "succeeded to failed"]
    assert (found.state, found.effects) == ("failed", 1)


@pytest.mark.parametrize("value", [JOB, JOB.replace("-", ""), URL])
def test_job_has_one_id_in_all_its_spellings(value: str) -> None:
    assert job_id(value) == JOB


# --- Notices ----------------------------------------------------------------------------------------------

PK = "msg_1"
BODY = {"type": "job.succeeded", "sequence": 1, "data": {"id": JOB, "status": "succeeded"}}
ROW = (JOB, "job.succeeded", "delivered", 2, 1)


def came(
    status: int = 204, at: float = 10.0, body: dict[str, Any] = BODY, error: str = "", took: float = 0.1
) -> Try:
    return Try(PK, at, json.dumps(body).encode(), error, str(status), status, at + took)


def broken_by_notices(
    tries: list[Try],
    rows: dict[str, tuple[Any, ...]] | None = None,
    steps: tuple[Step, ...] = (),
    breaks: tuple[Break, ...] = (),
) -> list[str]:
    shop: Any = SimpleNamespace(inbox=SimpleNamespace(astray=[]))
    record = Record(shop, 3.0, [], [], breaks=list(breaks))
    found = judge(record, {JOB: done()}, rows or {PK: ROW}, {PK: tries}, list(steps))
    return [name for name, value in found.items() if isinstance(value, list) and value]


def test_notice_that_arrived_at_last_is_no_fault() -> None:
    assert broken_by_notices([came(503), came(204)]) == []


@pytest.mark.parametrize(
    ("tries", "row", "name"),
    [
        ([], ROW, "ended jobs without their notice"),
        ([came(503), came(0)], ROW, "ended jobs without their notice"),
        ([came(took=10.5)], ROW, "ended jobs without their notice"),
        ([came()], (*ROW[:2], "failed", 2, 1), "deliveries that did not end as delivered"),
        ([came(error="no signature")], ROW, "notices that are forged, or not true"),
        (
            [came(body={**BODY, "data": {"id": JOB, "status": "failed"}})],
            ROW,
            "notices that are forged, or not true",
        ),
        ([came()], (AGAIN, *ROW[1:]), "notices that are forged, or not true"),
        ([came(503, body={**BODY, "sequence": 2}), came()], ROW, "notices that changed between their tries"),
        ([came(503), came(503), came()], ROW, "more tries of a notice than attempts"),
        ([came()], (*ROW[:4], 2), "gaps in the numbers of notices"),
        ([came(), came()], ROW, "notices sent again after a 2xx that no fault hid"),
    ],
)
def test_broken_promise_of_notices_is_found(tries: list[Try], row: tuple[Any, ...], name: str) -> None:
    assert name in broken_by_notices(tries, {PK: row})


@pytest.mark.parametrize("tries", [[came(took=9.4)], [came(took=9.4), came(at=20.0)]])
def test_slow_2xx_may_have_been_heard_or_not(tries: list[Try]) -> None:
    assert broken_by_notices(tries) == []


def test_second_notice_of_one_end_is_found() -> None:
    rows = {PK: ROW, "msg_2": (*ROW[:4], 2)}
    assert broken_by_notices([came()], rows) == ["ends with more than one notice"]


def test_attempt_after_the_end_of_a_delivery_is_found() -> None:
    steps = (Step("1", "sending", "delivered", 1), Step("1", "waiting", "sending", 1))
    assert broken_by_notices([came()], steps=steps) == ["notices sent again after their 2xx was stored"]


@pytest.mark.parametrize(("part", "excused"), [("worker-notices", True), ("worker-one", False)])
def test_fault_of_the_sender_excuses_a_try_after_a_2xx(part: str, excused: bool) -> None:
    found = broken_by_notices([came(), came()], breaks=(Break(part, 9.5, 10.5),))
    assert (found == []) == excused
