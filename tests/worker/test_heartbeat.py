"""The heartbeat: jobs stay alive and current, and learn that they are to stop, at three statements a beat."""

from datetime import timedelta
from time import monotonic

import pytest
from django.db import DataError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_accept.jobs.attempt import Attempt, begin, current_attempt, end
from async_accept.jobs.lost import LostJobs
from async_accept.models import Job
from async_accept.progress import log, report, track
from async_accept.testing import make_job
from async_accept.worker.heartbeat import NEWS_SECONDS, Heartbeat
from tests.forks import in_child
from tests.locks import impatient, locked

pytestmark = pytest.mark.django_db

LEASE = 15


@pytest.fixture
def heartbeat():
    return Heartbeat()


@pytest.fixture
def start(heartbeat):
    """Start an attempt that is older than a beat, of a job whose lease has some seconds left."""

    def start(left=LEASE - 3, **columns):
        job = make_job(state="running", lease_until=timezone.now() + timedelta(seconds=left), **columns)
        attempt = Attempt(job)
        attempt.began -= 10
        heartbeat.add(attempt, thread=False)
        return attempt

    yield start
    if left := current_attempt():
        end(left)


def row(attempt):
    return Job.objects.get(pk=attempt.job.pk)


def is_prolonged(attempt):
    return row(attempt).lease_until > timezone.now() + timedelta(seconds=LEASE - 2)


def say(attempt, *args):
    begin(attempt)
    report(*args)


def test_progress_is_written(heartbeat, start):
    attempt = start()
    say(attempt, 3, 4, "three")
    log("a line")
    before = row(attempt).updated_at
    heartbeat.beat()
    job = row(attempt)
    assert (job.progress["percent"], job.progress["message"]) == (75.0, "three")
    assert job.log.endswith("a line")
    assert job.updated_at > before


def test_each_job_gets_its_own_progress(heartbeat, start):
    attempts = [start() for _ in range(3)]
    for number, attempt in enumerate(attempts):
        say(attempt, number, 4)
    heartbeat.beat()
    assert [row(attempt).progress["current"] for attempt in attempts] == [0, 1, 2]


def test_a_job_without_news_keeps_its_progress(heartbeat, start):
    quiet, loud = start(progress={"current": 7}), start()
    say(loud, 1)
    before = row(quiet).updated_at
    heartbeat.beat()
    assert row(quiet).progress == {"current": 7}
    assert row(quiet).updated_at == before


def test_the_lease_is_prolonged_with_each_news(heartbeat, start):
    attempt = start()
    say(attempt, 1)
    heartbeat.beat()
    assert is_prolonged(attempt)


def test_without_news_the_lease_is_prolonged_when_a_third_of_it_has_passed(heartbeat, start):
    attempt = start(left=LEASE * 2 / 3 + 1)
    heartbeat.beat()
    assert not is_prolonged(attempt)
    # SQLite's clock knows milliseconds, so it may stand behind ours.
    left = timedelta(seconds=LEASE * 2 / 3 - 0.1)
    Job.objects.filter(pk=attempt.job.pk).update(lease_until=timezone.now() + left)
    heartbeat.beat()
    assert is_prolonged(attempt)


def test_one_short_lease_is_prolonged_with_all_the_others(heartbeat, start):
    attempts = [start(), start(left=1)]
    heartbeat.beat()
    assert all(map(is_prolonged, attempts))


def test_a_lease_that_ended_while_the_machine_slept_is_prolonged_at_the_next_beat(heartbeat, start):
    """The clock of this process may have stood still; the database's has not."""
    attempt = start(left=-60)
    heartbeat.beat()
    assert is_prolonged(attempt)


def test_a_job_that_is_to_stop_learns_it(heartbeat, start):
    attempt = start()
    row(attempt).cancel()
    heartbeat.beat()
    assert attempt.canceling
    assert not attempt.taken


def test_a_canceling_job_is_kept_alive(heartbeat, start):
    attempt = start(left=2)
    row(attempt).cancel()
    heartbeat.beat()
    assert is_prolonged(attempt)


@pytest.mark.parametrize(
    "take",
    [
        lambda job: job.lose("lease"),
        lambda job: job.end_canceled(),
        lambda job: job.delete(),
        lambda job: Job.objects.filter(pk=job.pk).update(attempt=2),
    ],
    ids=["lost", "ended", "deleted", "another attempt"],
)
def test_a_job_that_was_taken_away_learns_it(heartbeat, start, take):
    attempt = start()
    take(row(attempt))
    heartbeat.beat()
    assert attempt.taken
    assert attempt not in heartbeat.attempts


def test_nothing_is_written_for_a_job_that_was_taken_away(heartbeat, start):
    attempt = start()
    job = row(attempt)
    job.lose("lease")
    say(attempt, 3, 4)
    heartbeat.beat()
    assert row(attempt).progress is None


def test_nothing_is_written_for_another_attempt(heartbeat, start, monkeypatch):
    """The job is taken between the two statements of a beat."""
    attempt = start()
    say(attempt, 3, 4)
    seen = heartbeat._look([attempt])
    Job.objects.filter(pk=attempt.job.pk).update(attempt=2)
    heartbeat._write(*seen)
    assert row(attempt).progress is None


def test_a_young_job_costs_nothing(heartbeat, start, django_assert_num_queries):
    start().began += 10
    with django_assert_num_queries(0):
        heartbeat.beat()


def test_a_new_stage_is_shown_before_the_next_beat_is_due(heartbeat, start):
    attempt = start()
    attempt.began = monotonic() - NEWS_SECONDS
    begin(attempt)
    for _ in track([1], "first"):
        assert heartbeat.news.is_set()
        heartbeat.beat()
        assert not heartbeat.news.is_set()
        for _ in track([1], "inner"):
            assert not heartbeat.news.is_set()  # only the outermost stages are announced
    assert row(attempt).progress["stage"] == "first"
    for _ in track([1], "second"):
        assert heartbeat.news.is_set()


def test_a_stage_of_a_job_that_just_began_costs_nothing(heartbeat, start, django_assert_num_queries):
    attempt = start()
    attempt.began = monotonic()
    begin(attempt)
    with django_assert_num_queries(0):
        for _ in track([1], "first"):
            heartbeat.beat()


@pytest.mark.django_db(transaction=True)
def test_progress_that_cannot_be_written_costs_no_lease(heartbeat, start, caplog):
    """Such as a message that the character set of an old table does not have."""
    attempts = [start() for _ in range(2)]
    for attempt in attempts:
        begin(attempt)
        report(1)
    attempts[0].job.__class__.objects.filter(pk=attempts[0].job.pk).update(progress={"current": 0})

    def refuse(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and "progress" in sql:
            raise DataError("hunter2")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        heartbeat.beat()
        assert all(map(is_prolonged, attempts))
        heartbeat.beat()  # and it is not tried again
    assert caplog.text.count("Progress could not be written: DataError") == 1
    assert "hunter2" not in caplog.text


def test_no_job_costs_nothing(heartbeat, django_assert_num_queries):
    with django_assert_num_queries(0):
        heartbeat.beat()


def test_a_beat_without_news_is_one_statement(heartbeat, start, django_assert_num_queries):
    for _ in range(5):
        start()
    with django_assert_num_queries(1):
        heartbeat.beat()


def test_a_beat_with_news_is_three_statements(heartbeat, start):
    """It looks, locks and writes; SQLite locks no rows."""
    for number in range(5):
        say(start(), number)
        log("line")
    with CaptureQueriesContext(connection) as caught:
        heartbeat.beat()
    given = [each["sql"] for each in caught if "SAVEPOINT" not in each["sql"]]
    assert len(given) == (3 if connection.features.has_select_for_update else 2)


@pytest.mark.django_db(transaction=True)
def test_a_locked_row_costs_its_neighbours_no_lease(heartbeat, start):
    """Its work may hold it for long; the relay takes no job whose row is locked."""
    busy, neighbour = start(left=3), start(left=3)
    for attempt in (busy, neighbour):
        say(attempt, 3, 4)
    with locked(Job.objects.filter(pk=busy.job.pk)), impatient():
        heartbeat.beat()
        assert is_prolonged(neighbour)
        assert row(neighbour).progress["current"] == 3
        assert not is_prolonged(busy)
        assert not busy.taken
    heartbeat.beat()
    assert is_prolonged(busy)
    assert row(busy).progress["current"] == 3


@pytest.mark.django_db(transaction=True)
def test_work_that_stores_what_points_to_its_job_shows_its_progress(heartbeat, start):
    """The check of a foreign key locks the row, but not against changes of other columns."""
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL only.")
    attempt = start(left=3)
    say(attempt, 3, 4)
    work = connection.copy()
    work.set_autocommit(False)
    try:
        with work.cursor() as cursor:
            cursor.execute("SELECT 1 FROM async_accept_job WHERE id = %s FOR KEY SHARE", [attempt.job.pk])
            with impatient():
                heartbeat.beat()
    finally:
        work.close()
    assert is_prolonged(attempt)
    assert row(attempt).progress["current"] == 3


@pytest.mark.django_db(transaction=True)
def test_a_job_whose_row_is_locked_is_not_lost(start):
    busy, gone = start(left=-1), start(left=-1)
    relay = LostJobs(clock=lambda: 100.0)
    relay.saw_database()
    relay.trust_at = 0.0
    with locked(Job.objects.filter(pk=busy.job.pk)), impatient():
        assert relay.take() == 1
    assert row(busy).state == "running"
    assert row(gone).state != "running"


def test_what_was_written_is_not_written_again(heartbeat, start, django_assert_num_queries):
    say(start(), 1)
    heartbeat.beat()
    with django_assert_num_queries(1):
        heartbeat.beat()


def test_an_attempt_that_is_over_is_not_asked_about(heartbeat, start, django_assert_num_queries):
    heartbeat.remove(start())
    with django_assert_num_queries(0):
        heartbeat.beat()


def test_a_forked_process_does_not_keep_its_parents_attempts_alive(heartbeat, start):
    mine = start()
    assert in_child(lambda: not heartbeat.attempts)
    assert heartbeat.attempts == {mine}
