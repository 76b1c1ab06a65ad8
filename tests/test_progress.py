"""Progress: set in memory, never an error, and honest about the whole job."""

import asyncio
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_accept import encoding
from async_accept.exceptions import AttemptLost, JobCanceled
from async_accept.jobs import stages
from async_accept.jobs.attempt import Attempt, begin, end
from async_accept.models import Job
from async_accept.progress import advance, checkpoint, current_job, log, report, track


@pytest.fixture
def attempt():
    """An attempt in this thread, without a database."""
    attempt = Attempt(Job(operation="test"))
    begin(attempt)
    yield attempt
    end(attempt)


def shown(attempt):
    return attempt.progress.snapshot().get("progress")


def percent(attempt):
    return shown(attempt)["percent"]


# --- Reporting ------------------------------------------------------------------------------------------


def test_nothing_is_shown_before_something_is_said(attempt):
    assert attempt.progress.snapshot() == {}


def test_report_shows_everything(attempt):
    report(3, 12, "Almost", unit="orders")
    assert shown(attempt) == {
        "current": 3,
        "total": 12,
        "unit": "orders",
        "message": "Almost",
        "percent": 25.0,
        "stage": "",
    }


def test_report_leaves_what_is_not_said(attempt):
    report(3, 12, "Almost", unit="orders")
    report(6)
    assert shown(attempt) == {
        **shown(attempt),
        "current": 6,
        "total": 12,
        "unit": "orders",
        "message": "Almost",
    }


def test_advance_counts_on(attempt):
    report(total=4)
    advance()
    advance(2, "three")
    assert (shown(attempt)["current"], percent(attempt), shown(attempt)["message"]) == (3, 75.0, "three")


def test_without_a_total_there_is_no_percentage(attempt):
    report(3)
    assert (shown(attempt)["current"], percent(attempt)) == (3, None)


def test_a_message_alone_is_progress(attempt):
    report(message="Waiting for the bank")
    assert (shown(attempt)["message"], percent(attempt)) == ("Waiting for the bank", None)


@pytest.mark.parametrize(
    ("current", "total", "told"),
    [
        (5, 4, (5, 4, 100.0)),
        (-1, 4, (-1, 4, 0.0)),
        (1, 0, (1, 0, None)),
        (1, -4, (1, -4, None)),
        (math.nan, 4, (None, 4, 0.0)),
        (1, math.inf, (1, None, None)),
        (Decimal(1), Decimal(4), (1.0, 4.0, 25.0)),
        (Fraction(1), 4, (1.0, 4, 25.0)),
        ("1", "4", (1.0, 4.0, 25.0)),
        ("one", object(), (None, None, None)),
        (10**400, 10**401, (None, None, None)),
    ],
)
def test_a_strange_number_is_no_error(attempt, current, total, told):
    report(current, total)
    assert (shown(attempt)["current"], shown(attempt)["total"], percent(attempt)) == told


@given(current=st.floats() | st.integers(), total=st.none() | st.floats() | st.integers(), message=st.text())
def test_progress_can_always_be_stored(current, total, message):
    begin(attempt := Attempt(Job(operation="test")))
    try:
        for _ in track([1], message, total=total, unit=message):
            report(current, message=f"{message}.")
            advance(current)
            log(message)
            told = encoding.loads(encoding.dumps(attempt.progress.snapshot()))["progress"]
    finally:
        end(attempt)
    assert told["percent"] is None or 0 <= told["percent"] <= 100


def test_nul_is_taken_out_of_what_people_read(attempt):
    report(1, message="a\0b", unit="c\0")
    log("d\0e")
    assert (shown(attempt)["message"], shown(attempt)["unit"]) == ("ab", "c")
    assert "de" in attempt.progress.snapshot()["log"]


def test_long_texts_are_cut(attempt):
    report(1, message="m" * 10_000)
    log("l" * 10_000)
    assert len(shown(attempt)["message"]) == stages.MESSAGE_CHARS
    assert len(attempt.progress.snapshot()["log"]) < stages.LINE_CHARS + 30


# --- Logging ---------------------------------------------------------------------------------------------


def test_the_last_lines_of_the_log_are_kept(attempt):
    for n in range(stages.LOG_LINES + 5):
        log(f"line {n}")
    lines = attempt.progress.snapshot()["log"].splitlines()
    assert len(lines) == stages.LOG_LINES
    assert lines[-1].endswith(f"line {stages.LOG_LINES + 4}")


def test_the_log_goes_on_over_attempts():
    attempt = Attempt(Job(operation="test", log="2026-01-01 00:00:00 first attempt"))
    assert attempt.progress.unwritten() == {}
    begin(attempt)
    log("second attempt")
    end(attempt)
    assert [line.split(" ", 2)[2] for line in attempt.progress.snapshot()["log"].splitlines()] == [
        "first attempt",
        "second attempt",
    ]


# --- Tracking --------------------------------------------------------------------------------------------


def test_track_counts_the_items_that_are_done(attempt):
    seen = [(item, shown(attempt)["current"], percent(attempt)) for item in track("abcd", "Spelling")]
    assert seen == [("a", 0, 0.0), ("b", 1, 25.0), ("c", 2, 50.0), ("d", 3, 75.0)]
    assert percent(attempt) == 100.0


def test_track_names_the_stage(attempt):
    for _ in track([1], "Charging", unit="orders"):
        assert (shown(attempt)["stage"], shown(attempt)["unit"], shown(attempt)["total"]) == (
            "Charging",
            "orders",
            1,
        )


def test_a_generator_gives_an_indeterminate_bar(attempt):
    told = [
        (shown(attempt)["current"], shown(attempt)["total"], percent(attempt))
        for _ in track(iter("ab"), "Reading")
    ]
    assert told == [(0, None, None), (1, None, None)]


def test_a_generator_with_a_total_has_a_percentage(attempt):
    assert [percent(attempt) for _ in track(iter("ab"), total=2)] == [0.0, 50.0]


def test_an_empty_iterable_fills_its_stage(attempt):
    for _ in track([], "Nothing", weight=0.5):
        raise AssertionError
    assert percent(attempt) == 50.0


def test_stages_in_sequence_share_the_job_by_weight(attempt):
    first = [percent(attempt) for _ in track("ab", "One", weight=0.2)]
    second = [percent(attempt) for _ in track("ab", "Two", weight=0.8)]
    assert (first, second, percent(attempt)) == ([0.0, 10.0], [20.0, 60.0], 100.0)


def test_stages_inside_an_item_share_the_item(attempt):
    told = []
    for _ in track("ab", "Outer"):
        told += [percent(attempt) for _ in track("xy", "Inner 1", weight=0.5)]
        told += [percent(attempt) for _ in track("xy", "Inner 2", weight=0.5)]
    assert told == [0.0, 12.5, 25.0, 37.5, 50.0, 62.5, 75.0, 87.5]
    assert percent(attempt) == 100.0


def test_weights_beyond_the_whole_never_go_beyond_100_percent(attempt):
    told = [percent(attempt) for _ in range(3) for _ in track("ab", weight=0.6)]
    assert told == sorted(told)
    assert max(told) <= 100.0


@given(st.recursive(st.just(()), lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=8))
def test_progress_never_goes_back(tree):
    told = []

    def walk(children):
        for child in track(children, weight=0.3):
            told.append(percent(attempt))
            walk(child)

    begin(attempt := Attempt(Job(operation="test")))
    try:
        walk((tree, tree))
    finally:
        end(attempt)
    assert told == sorted(told)


def test_report_inside_track_moves_within_the_stage(attempt):
    for _ in track([1, 2], "Outer"):
        report(1, 4)
        break
    assert percent(attempt) == 25.0


def test_a_loop_left_early_has_filled_its_stage_when_the_work_goes_on(attempt):
    for item in track(range(10), "Searching", weight=0.5):
        if item == 3:
            break
    assert (shown(attempt)["stage"], percent(attempt)) == ("Searching", 15.0)
    told = [percent(attempt) for _ in track("ab", "Found", weight=0.5)]
    assert (told, percent(attempt)) == ([50.0, 75.0], 100.0)


def test_last_words_leave_what_was_reached_on_show(attempt):
    """Said by a task that was canceled in its loop; a bar at 100 % would tell the opposite."""
    for _ in track(range(4), "Charging"):
        report(message="About 10 seconds left.")
        break
    report(message="Canceled.")
    assert (shown(attempt)["stage"], shown(attempt)["message"], percent(attempt)) == (
        "Charging",
        "Canceled.",
        0.0,
    )
    report(unit="orders")
    assert percent(attempt) == 100.0


def test_a_job_that_returned_has_gone_on_from_the_loop_it_left(attempt):
    for _ in track(range(10), "Searching"):
        break
    attempt.progress.stage()
    assert percent(attempt) == 100.0


@pytest.mark.parametrize("by", ["the body", "the iterable"])
def test_a_failed_job_shows_how_far_it_came(attempt, by):
    def items():
        yield from range(3)
        if by == "the iterable":
            raise KeyError

    def work():
        for item in track(items(), "Charging", total=4):
            if item == 2 and by == "the body":
                raise KeyError

    with pytest.raises(KeyError):
        work()
    assert shown(attempt)["stage"] == "Charging"
    assert percent(attempt) == {"the body": 50.0, "the iterable": 75.0}[by]


def test_a_stage_whose_error_was_handled_does_not_hold_the_next_ones(attempt):
    def broken():
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        list(track(broken(), "Broken", weight=0.5))
    told = [percent(attempt) for _ in track("ab", "Next", weight=0.5)]
    assert told == [50.0, 75.0]


def test_breaking_out_of_an_inner_loop_goes_on_with_the_next_item(attempt):
    told = []
    for _ in track("ab", "Outer"):
        told.append(percent(attempt))
        for _ in track("xyz", "Inner"):
            break
    assert told == [0.0, 50.0]
    assert percent(attempt) == 100.0


async def stream(*items):
    for item in items:
        yield item


def test_async_iterables_are_tracked(attempt):
    async def work():
        return [(item, percent(attempt)) async for item in track(stream("a", "b"), "Streaming", total=2)]

    assert asyncio.run(work()) == [("a", 0.0), ("b", 50.0)]
    assert percent(attempt) == 100.0


def test_an_async_iterable_may_tell_its_length(attempt):
    class Pages:
        def __len__(self):
            return 4

        def __aiter__(self):
            return stream(*range(4))

    async def work():
        return [percent(attempt) async for _ in track(Pages())]

    assert asyncio.run(work()) == [0.0, 25.0, 50.0, 75.0]


def test_what_can_be_gone_through_in_both_ways_still_can(attempt):
    """A query set of Django's, for one."""

    class Rows(list):
        async def __aiter__(self):
            for item in self:
                yield item

    async def work():
        return [(item, percent(attempt)) async for item in track(Rows("ab"), weight=0.5)]

    assert [(item, percent(attempt)) for item in track(Rows("ab"), weight=0.5)] == [("a", 0.0), ("b", 25.0)]
    assert asyncio.run(work()) == [("a", 50.0), ("b", 75.0)]


def test_after_an_async_loop_left_early_the_next_is_no_part_of_it(attempt):
    async def work():
        async for _ in track(stream(1, 2), "First", weight=0.5):
            break
        return [
            (shown(attempt)["stage"], percent(attempt)) async for _ in track(stream(1, 2), "Next", 2, 0.5)
        ]

    assert asyncio.run(work()) == [("Next", 50.0), ("Next", 75.0)]


def test_an_async_loop_is_stopped_too(attempt):
    async def work():
        async for _ in track(stream(1, 2, 3)):
            attempt.canceling = True

    with pytest.raises(JobCanceled):
        asyncio.run(work())
    assert shown(attempt)["current"] == 1


# --- Stopping --------------------------------------------------------------------------------------------


def test_checkpoint_lets_an_undisturbed_job_go_on(attempt):
    checkpoint()


def test_checkpoint_stops_a_job_that_is_to_stop(attempt):
    attempt.canceling = True
    with pytest.raises(JobCanceled):
        checkpoint()


def test_checkpoint_stops_an_attempt_that_was_given_up_whatever_else(attempt):
    attempt.canceling = attempt.taken = True
    with pytest.raises(AttemptLost):
        checkpoint()


def test_track_stops_before_the_next_item(attempt):
    done = []

    def work():
        for item in track(range(5)):
            done.append(item)
            attempt.canceling = item == 1

    with pytest.raises(JobCanceled):
        work()
    assert done == [0, 1]


# --- Outside a job ---------------------------------------------------------------------------------------


def test_outside_a_job_everything_does_nothing():
    report(1, 2, "x", unit="y")
    advance()
    log("line")
    checkpoint()
    assert current_job() is None


def test_outside_a_job_track_only_iterates():
    async def work():
        return [item async for item in track(stream(1, 2))]

    assert list(track(range(3), "Counting")) == [0, 1, 2]
    assert asyncio.run(work()) == [1, 2]


def test_inside_a_job_its_id_is_at_hand(attempt):
    assert current_job() is attempt.job


# --- What the heartbeat writes --------------------------------------------------------------------------------


def test_only_what_changed_is_written(attempt):
    report(1, 2)
    log("line")
    assert set(attempt.progress.unwritten()) == {"progress", "log"}
    attempt.progress.written.update(attempt.progress.snapshot())
    assert attempt.progress.unwritten() == {}
    report(2)
    assert set(attempt.progress.unwritten()) == {"progress"}


def test_attempts_of_other_threads_are_not_touched(attempt):
    import threading

    thread = threading.Thread(target=report, args=(1, 2))
    thread.start()
    thread.join()
    assert attempt.progress.snapshot() == {}


def test_after_its_last_stage_a_job_shows_what_was_counted(attempt):
    for _ in track(range(100), "Charging", unit="orders"):
        pass
    assert shown(attempt) == {
        "current": 100,
        "total": 100,
        "unit": "orders",
        "message": "",
        "percent": 100.0,
        "stage": "Charging",
    }


def test_between_two_stages_the_share_of_the_whole_is_kept(attempt):
    for _ in track(range(4), "First", weight=0.25):
        pass
    assert (percent(attempt), shown(attempt)["stage"]) == (25.0, "First")


def test_an_own_report_after_a_stage_is_what_counts(attempt):
    for _ in track(range(4), "First"):
        pass
    report(7, 10)
    assert (shown(attempt)["current"], shown(attempt)["stage"]) == (7, "")


# --- Words that are no text ---------------------------------------------------------------------------------------


class Unspeakable:
    """As a lazy text whose own data is missing."""

    def __str__(self):
        raise KeyError("name")


def test_words_become_text_at_once_and_never_fail_the_work(attempt):
    """The heartbeat writes them later, for all jobs of the process, and the end of the attempt after it."""
    spoken = []

    class Speaker:
        def __str__(self):
            spoken.append(1)
            return "spoken"

    report(1, 2, Speaker(), unit=Unspeakable())
    assert (
        attempt.progress.snapshot()["progress"]["message"],
        attempt.progress.snapshot()["progress"]["unit"],
    ) == (
        "spoken",
        "Unspeakable",
    )
    assert spoken == [1]
    advance(1, Unspeakable())
    log(Unspeakable())
    for _ in track([1], Unspeakable(), unit=Speaker()):
        assert attempt.progress.snapshot()["progress"]["stage"] == "Unspeakable"
    assert attempt.progress.snapshot()["progress"]["message"] == "Unspeakable"
    assert attempt.progress.snapshot()["log"].endswith("Unspeakable")
