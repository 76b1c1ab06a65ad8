"""The account of a storm finds each kind of broken promise, and none in a storm without one."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from .account import Outcome, _next, _outcomes, _promises
from .plan import Promise
from .record import Record
from .witness import Change, job_id

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
