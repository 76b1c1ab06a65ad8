"""The timeline of a job: what happened, attempt by attempt."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

import async_accept
from async_accept.admin.timeline import timeline
from async_accept.models import Job
from async_accept.testing import make_job
from tests.admin.conftest import page

pytestmark = pytest.mark.django_db


def test_the_timeline_tells_attempts_waiting_and_running():
    now = timezone.now()
    at = {n: now - timedelta(seconds=n) for n in (100, 90, 60, 50, 20)}
    job = make_job(
        state="succeeded",
        result=1,
        created_at=at[100],
        attempt=2,
        started_at=at[50],
        finished_at=at[20],
        worker="b",
        expires_at=now + timedelta(days=1),
        history=[
            {
                "attempt": 1,
                "worker": "a",
                "started_at": at[90].isoformat(),
                "ended_at": at[60].isoformat(),
                "reason": "lease",
            }
        ],
    )
    told = [(step.what, [note.replace("\u00a0", " ") for note in step.notes]) for step in timeline(job)]
    assert told == [
        ("Accepted", []),
        ("Attempt 1 began", ["after waiting 10 s", "on a"]),
        ("Attempt 1 ended without a result", ["Its worker gave no sign of life any more."]),
        ("Attempt 2 began", ["after waiting 10 s", "on b"]),
        ("Succeeded", ["after running 30 s"]),
        ("Result expires", []),
    ]


@pytest.mark.parametrize(
    ("state", "notes"), [("failed", ["30/100 orders"]), ("canceled", ["30/100 orders"]), ("succeeded", [])]
)
def test_the_timeline_tells_how_far_it_got(state, notes):
    """What succeeded got to its end."""
    progress = {"current": 30, "total": 100, "unit": "orders", "percent": 30.0}
    job = make_job(state=state, progress=progress, started_at=None)
    (end,) = (step for step in timeline(job) if step.when == job.finished_at)
    assert end.notes == notes


def test_the_timeline_keeps_its_notes_apart(boss):
    job = make_job(state="running", worker="celery@box", created_at=timezone.now() - timedelta(seconds=9))
    text = re.sub(r"<[^>]+>", "", page(boss, job)).replace("\u00a0", " ")
    assert re.search(r"Attempt 1 began · after waiting \d+ s · on celery@box", text)


def test_the_timeline_shows_each_time_to_the_second(boss):
    """For all to see: a title is not shown on a touch screen, nor to who uses the keyboard."""
    created_at = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)
    job = make_job(
        state="running", created_at=created_at, started_at=timezone.now() - timedelta(hours=4, minutes=1)
    )
    html = page(boss, job)
    assert f">March 1, 2026, {timezone.localtime(created_at):%H:%M:%S}</time>" in html
    assert re.search(r"4\u00a0h ago</time> · <bdi>\w+\.? \d+, \d{4}, \d\d:\d\d:\d\d</bdi>", html)


def reason(code: str) -> list[str]:
    """Return what the timeline says of an attempt that ended for this reason."""
    job = Job(attempt=1, history=[{"attempt": 1, "reason": code}])
    (step,) = (step for step in timeline(job) if "ended" in step.what)
    return step.notes


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("lease", "Its worker gave no sign of life any more."),
        ("worker: lost", "Its process died."),
        ("worker: shut down", "Its worker was shut down."),
        ("retry", "The task asked for another attempt."),
        ("retry: KeyError", "The task asked for another attempt: KeyError"),
        ("database: OperationalError", "The database failed: OperationalError"),
        ("", None),
        ("of other making", "of other making"),
    ],
)
def test_why_an_attempt_ended_is_told_as_a_sentence(code, sentence):
    assert reason(code) == ([sentence] if sentence else [])


def test_every_code_that_the_package_writes_has_its_sentence():
    sources = "".join(path.read_text() for path in Path(async_accept.__file__).parent.rglob("*.py"))
    codes = set(re.findall(r"""\b(?:lose\(|reason = )f?"([a-z: ]+?)(?=["{])""", sources))
    assert codes == {"lease", "worker: lost", "worker: shut down", "retry: ", "database: "}
    for code in codes:
        whole = f"{code}X" if code.endswith(" ") else code
        assert reason(whole) != [whole]


def test_the_timeline_of_a_job_that_waits_again():
    job = make_job(
        attempt=1, history=[{"attempt": 1, "started_at": None, "ended_at": "nonsense", "reason": None}]
    )
    assert [step.what for step in timeline(job)][-1] == "Waits for its next attempt"
