"""One watcher for all who wait."""

import asyncio
import contextlib
import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_accept.jobs import watcher as module
from async_accept.jobs.watcher import Reader, Watcher
from async_accept.models import Job
from async_accept.testing import make_job
from tests.forks import in_child

pytestmark = pytest.mark.django_db(transaction=True)


#: PostgreSQL is asked first whether anything has changed.
FIRST = 1 if connection.vendor == "postgresql" else 0


@pytest.fixture
def watcher(monkeypatch):
    """A watcher without its thread: the tests look."""
    watcher = Watcher()
    monkeypatch.setattr(watcher, "_live", lambda: threading.Event().wait(0.5))
    return watcher


def test_one_look_is_one_query_and_one_more_for_what_is_new(watcher, django_assert_num_queries):
    jobs = [make_job() for _ in range(3)]
    told = []
    with (
        watcher.watch(jobs[0].pk, lambda seen: seen.state != "accepted", told.append),
        watcher.watch(jobs[1].pk, lambda seen: seen.state != "accepted", told.append),
        watcher.watch(jobs[1].pk, lambda seen: seen.state != "accepted", told.append),
    ):
        for statements in (2 + FIRST, 1):
            with django_assert_num_queries(statements):
                watcher.look()
        assert told == []
        jobs[1].cancel()
        with django_assert_num_queries(2 + FIRST):
            watcher.look()
        assert [job.state for job in told] == ["canceled", "canceled"]
        for statements in (1 + FIRST, 1):  # others wait now
            with django_assert_num_queries(statements):
                watcher.look()
    assert not watcher.waiting
    with django_assert_num_queries(0):
        watcher.look()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL only")
def test_rows_that_have_not_changed_are_not_sent(watcher, django_assert_num_queries):
    """Who begins to wait for a job that others wait for already is told what has changed before."""
    job, told = make_job(), []
    with watcher.watch(job.pk, lambda seen: False, told.append):
        watcher.look()
        with CaptureQueriesContext(connection) as statements:
            watcher.look()
        assert ["SUM" in each["sql"] for each in statements] == [True]
        with watcher.watch(job.pk, lambda seen: True, told.append):
            watcher.look()
    assert told == [job]


def test_a_database_that_takes_few_values_at_once_is_asked_in_parts(watcher, monkeypatch):
    monkeypatch.setattr(type(connection.features), "max_query_params", 3)
    jobs, told = [make_job() for _ in range(5)], []
    with contextlib.ExitStack() as stack:
        for job in jobs:
            stack.enter_context(watcher.watch(job.pk, lambda seen: seen.state == "canceled", told.append))
        watcher.look()
        jobs[4].cancel()
        jobs[0].cancel()
        watcher.look()
    assert {job.pk for job in told} == {jobs[0].pk, jobs[4].pk}


def live(watcher, monkeypatch, *outcomes):
    """Let *watcher* live for as many looks as there are outcomes: an error, or None for a look that works."""
    left = list(outcomes)

    def look():
        if not left:
            raise SystemExit
        if (error := left.pop(0)) is not None:
            raise error

    monkeypatch.setattr(watcher, "look", look)
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0)
    watcher.waiting.add(None)
    with pytest.raises(SystemExit):
        Watcher._live(watcher)


def test_a_database_that_is_away_is_told_once_until_it_is_back(watcher, monkeypatch, caplog):
    gone = OperationalError("gone")
    live(watcher, monkeypatch, gone, gone, gone, None, gone, ValueError(), ValueError())
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "ERROR"]


def test_every_connection_of_its_thread_is_closed(watcher, monkeypatch):
    """A reader's permissions may ask another database, by a router."""
    closed = []
    monkeypatch.setattr(module, "close_connections", lambda: closed.append("all"))
    live(watcher, monkeypatch, OperationalError("gone"))
    assert closed == ["all"]


def test_a_reader_who_cannot_be_asked_about_keeps_nobody_else_from_hearing(
    watcher, alice, monkeypatch, caplog
):
    """They hear themselves once they could be asked about."""
    jobs = [make_job(owner=alice), make_job()]
    told, answers = (
        [],
        [OperationalError("the other database is gone"), OperationalError("still"), {jobs[0].pk}],
    )

    def check(pks):
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    monkeypatch.setattr(module, "ACCESS_SECONDS", 0)
    boss = Reader(-1, True, check)
    with (
        watcher.watch(jobs[0].pk, lambda seen: seen.state == "canceled", told.append, boss),
        watcher.watch(jobs[1].pk, lambda seen: seen.state == "canceled", told.append),
    ):
        for job in jobs:
            job.cancel()
        for expected in ([jobs[1]], [jobs[1]], [jobs[1], jobs[0]]):
            watcher.look()
            assert told == expected
    assert caplog.text.count("could not ask") == 1


def test_what_a_look_could_not_do_the_next_one_does(watcher):
    """A client whose event loop is closed keeps nobody else from hearing."""
    job, told = make_job(), []

    def fail(now):
        raise RuntimeError("Event loop is closed")

    with (
        watcher.watch(job.pk, lambda seen: True, fail),
        watcher.watch(job.pk, lambda seen: True, fail),
        watcher.watch(job.pk, lambda seen: True, told.append),
    ):
        for _ in range(3):
            with contextlib.suppress(RuntimeError):
                watcher.look()
    assert [now.pk for now in told] == [job.pk]


def test_a_job_that_is_gone_concerns_everybody(watcher):
    told = []
    forgotten, deleted = make_job(), make_job()
    with (
        watcher.watch(forgotten.pk, lambda seen: False, told.append),
        watcher.watch(deleted.pk, lambda seen: False, told.append),
    ):
        Job.objects.filter(pk=forgotten.pk).update(forgotten=True)
        deleted.delete()
        watcher.look()
    assert told == [None, None]


def test_too_many_threads_are_not_kept(watcher, settings):
    settings.ASYNC_ACCEPT = {"MAX_WAITERS": 0}
    assert watcher.wait(make_job(), 60, for_end=True) is None


def test_time_runs_out(watcher):
    assert watcher.wait(make_job(), 0.01, for_end=True) is False
    assert watcher.blocked == 0


def test_a_forked_process_begins_anew(watcher):
    """Its parent's clients wait in the parent, and so does the thread that tells them."""
    with watcher.watch(make_job().pk, lambda seen: True, print):
        watcher.blocked = 4
        watcher.lock.acquire()
        assert in_child(
            lambda: (
                (watcher.waiting, watcher.blocked, watcher.thread, watcher.lock.locked())
                == (set(), 0, None, False)
            )
        )
        watcher.lock.release()
        assert watcher.blocked == 4
        assert watcher.waiting


def test_a_coroutine_gets_the_job_as_it_is_then(watcher):
    job = make_job()

    async def wait():
        with watcher.follow(job) as change:
            await asyncio.to_thread(watcher.look)
            assert not change.done()
            await asyncio.to_thread(move)
            return await asyncio.wait_for(change, 10)

    def move():
        Job.objects.update(updated_at=timezone.now() + timedelta(seconds=1), progress={"current": 1})
        watcher.look()

    assert asyncio.run(wait()).progress == {"current": 1}
    assert not watcher.waiting


# --- Readers ------------------------------------------------------------------------------------------------------


def nobody_asks(pks):
    raise AssertionError("An owner is looked up with the job.")


def test_an_owner_who_is_locked_out_hears_no_more(watcher, alice, django_assert_num_queries):
    """No statement is asked about the owners: the look at the jobs knows them."""
    job, others = make_job(owner=alice), make_job(owner=None)
    told = []
    with (
        watcher.watch(job.pk, lambda seen: False, told.append, Reader(alice.pk, True, nobody_asks)),
        watcher.watch(others.pk, lambda seen: False, told.append, Reader(alice.pk, True, nobody_asks)),
        watcher.watch(others.pk, lambda seen: False, told.append, Reader(None, True, nobody_asks)),
    ):
        for statements in (2 + FIRST, 1):
            with django_assert_num_queries(statements):
                watcher.look()
        assert told == []
        alice.is_active = False
        alice.save()
        with django_assert_num_queries(2 + FIRST):
            watcher.look()
        assert told == [None]
        assert len(watcher.waiting) == 2


def test_an_owner_who_is_deleted_is_a_reader_of_anothers_job(watcher, alice):
    job, told = make_job(owner=alice), []
    with watcher.watch(job.pk, lambda seen: False, told.append, Reader(alice.pk, True, lambda pks: ())):
        alice.delete()
        watcher.look()
    assert told == [None]


def test_other_readers_are_asked_about_together_and_now_and_then(watcher, alice, monkeypatch):
    jobs = [make_job(owner=alice) for _ in range(3)]
    asked, told, visible = [], [], {job.pk for job in jobs}

    def check(pks):
        asked.append(set(pks))
        return visible

    boss = Reader(-1, True, check)
    with (
        watcher.watch(jobs[0].pk, lambda seen: False, told.append, boss),
        watcher.watch(jobs[1].pk, lambda seen: False, told.append, boss),
        watcher.watch(jobs[2].pk, lambda seen: False, told.append, Reader(alice.pk, False, check)),
    ):
        for _ in range(3):
            watcher.look()
        assert sorted(map(len, asked)) == [1, 2]
        assert told == []
        monkeypatch.setattr(module, "ACCESS_SECONDS", 0)
        visible.discard(jobs[0].pk)
        watcher.look()
        assert (told, len(watcher.waiting)) == ([None], 2)

        def fail(pks):
            raise KeyError("a bug in a permission")

        with watcher.watch(jobs[0].pk, lambda seen: False, told.append, Reader(-2, True, fail)):
            watcher.look()
        assert told == [None, None]
