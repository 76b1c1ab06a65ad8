"""How jobs look: every state has a face, and figures read as people say them."""

from datetime import timedelta

import pytest
from django.utils import timezone, translation

from async_accept.admin.formatting import LOOKS, ago, duration, eta, progress_words
from async_accept.models import Job
from async_accept.states import State

NOW = timezone.now()


def running(seconds: float = 20, **progress) -> Job:
    return Job(state=State.RUNNING, started_at=NOW - timedelta(seconds=seconds), progress=progress)


def words(job: Job) -> str:
    return progress_words(job, NOW).replace("\u00a0", " ")


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_face_of_its_own(state):
    look = LOOKS[state]
    assert len(look.icon) == 1
    assert [other.icon for other in LOOKS.values()].count(look.icon) == 1


def test_progress_reads_as_amount_and_time_left():
    assert words(running(current=30, total=100, percent=30)) == "30/100, about 45 s"
    assert words(running(current=30, total=100, unit="orders", percent=30)) == "30/100 orders, about 45 s"


def test_progress_without_a_total_tells_the_amount_only():
    assert words(running(current=7, total=None, unit="rows", percent=None)) == "7 rows"


def test_progress_of_stages_alone_tells_the_percentage():
    assert words(running(current=0, total=None, percent=50.0)) == "50%, about 20 s"


@pytest.mark.parametrize(
    "job",
    [
        running(seconds=1, percent=50),
        running(percent=0.1),
        running(percent=100),
        running(percent=None),
        Job(state=State.ACCEPTED, progress={"percent": 50}),
        Job(state=State.SUCCEEDED, started_at=NOW, progress={"percent": 50}),
    ],
)
def test_nothing_is_estimated_where_it_would_be_a_guess(job):
    assert eta(job, NOW) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (9, "9 s"),
        (9.96, "10 s"),
        (0.44, "0.4 s"),
        (42, "42 s"),
        (59.9, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds, expected):
    assert duration(timedelta(seconds=seconds)).replace("\u00a0", " ") == expected


def test_numbers_are_localised():
    with translation.override("de"):
        assert duration(timedelta(seconds=0.4)) == "0,4\u00a0s"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1, "just now"),
        (30, "30 s ago"),
        (300, "5 min ago"),
        (7300, "2 h ago"),
        (2 * 86400, "2 d ago"),
        (-7300, "in 2 h"),
    ],
)
def test_times_are_told_in_one_unit(seconds, expected):
    assert ago(NOW - timedelta(seconds=seconds), NOW).replace("\u00a0", " ") == expected
