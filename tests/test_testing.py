"""The helpers for other people's tests: honest, without broker, worker and sleep."""

import pytest
from celery import shared_task
from django.db import transaction
from django.test import TestCase, override_settings
from rest_framework.test import APIClient

from async_accept.models import Job
from async_accept.progress import report, track
from async_accept.states import State
from async_accept.tasks import JobTask
from async_accept.testing import accepted_jobs, assert_accepted, follow, make_job, run_accepted_jobs, run_job
from tests.testapp import tasks
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(django_user_model):
    client = APIClient()
    client.force_authenticate(django_user_model.objects.create(username="alice"))
    return client


committed = []


@shared_task(base=JobTask)
def leave_something_to_the_commit(twice=False):
    transaction.on_commit(lambda: committed.append("mail"))
    if twice:
        transaction.on_commit(lambda: transaction.on_commit(lambda: committed.append("second mail")))


@shared_task(base=JobTask)
def accept_another():
    make_job(tasks.add, input={"x": 1, "y": 1})


@shared_task(base=JobTask)
def work_in_stages():
    for _ in track("ab", "First", weight=0.5):
        pass
    report(3, 4, "Nearly")
    return "done"


# --- run_accepted_jobs -------------------------------------------------------------------------------------


def test_jobs_run_with_their_retries():
    make_job(tasks.flaky, input={"failures": 2})
    (job,) = run_accepted_jobs()
    assert (job.state, job.attempt) == ("succeeded", 3)


def test_only_the_chosen_jobs_run():
    chosen, other = make_job(tasks.stop_me, operation="a"), make_job(tasks.stop_me, operation="b")
    assert run_accepted_jobs(operation="a") == [chosen]
    other.refresh_from_db()
    assert other.state == "accepted"


def test_jobs_that_jobs_accept_run_too():
    make_job(accept_another)
    assert [job.state for job in run_accepted_jobs()] == ["succeeded", "succeeded"]


def test_an_unexpected_exception_is_raised_again():
    make_job(tasks.crash, input={"message": "the real one"})
    with pytest.raises(RuntimeError, match="the real one"):
        run_accepted_jobs()
    assert Job.objects.get().state == "failed"


def test_an_unexpected_exception_can_stay_in_its_job():
    make_job(tasks.crash)
    (job,) = run_accepted_jobs(raises=False)
    assert job.problem["code"] == "failed"


def test_an_exception_after_retries_is_raised_again():
    make_job(tasks.autoretry, input={"error": "again"})
    with pytest.raises(ValueError, match="again"):
        run_accepted_jobs()


def test_a_failure_with_words_for_the_client_is_not_raised():
    make_job(tasks.refuse)
    (job,) = run_accepted_jobs()
    assert job.problem["code"] == "refused"


def test_a_job_that_never_ends_is_told():
    @shared_task(base=JobTask, bind=True, max_retries=None, name="tests.never")
    def never(self):
        raise self.retry(countdown=0)

    make_job(never)
    with pytest.raises(AssertionError, match="not ended after 100 attempts"):
        run_accepted_jobs()


class InsideTestCase(TestCase):
    """Django's own ``TestCase``: one transaction that never commits."""

    def setUp(self):
        committed.clear()

    def test_what_the_work_leaves_to_the_commit_happens(self):
        make_job(leave_something_to_the_commit)
        run_accepted_jobs()
        assert committed == ["mail"]

    def test_also_what_is_left_during_the_commit(self):
        make_job(leave_something_to_the_commit, input={"twice": True})
        run_accepted_jobs()
        assert committed == ["mail", "second mail"]

    def test_what_the_test_itself_left_is_not_touched(self):
        transaction.on_commit(lambda: committed.append("not mine"))
        make_job(tasks.add, input={"x": 1, "y": 2})
        run_accepted_jobs()
        assert committed == []

    def test_a_failing_callback_fails_the_test(self):
        @shared_task(base=JobTask, name="tests.fail_at_commit")
        def fail_at_commit():
            transaction.on_commit(lambda: 1 / 0)

        make_job(fail_at_commit)
        with pytest.raises(ZeroDivisionError):
            run_accepted_jobs()


@pytest.mark.django_db(transaction=True)
def test_eager_mode_has_run_the_job_already(client, eager):
    accepted = client.post("/api/sums/", {"x": 1, "y": 2})
    assert run_accepted_jobs() == []
    assert follow(client, accepted).data == 3


# --- run_job -----------------------------------------------------------------------------------------------


def test_run_job_returns_the_result_as_a_client_reads_it():
    ran = run_job(tasks.add, x=1, y=2)
    assert (ran.state, ran.result, ran.problem) == ("succeeded", 3, None)


def test_run_job_passes_the_input_through_json():
    assert run_job(tasks.echo, pair=(1, 2)).result == {"pair": [1, 2]}


def test_run_job_remembers_the_progress():
    ran = run_job(work_in_stages)
    assert [(p["stage"], p["percent"], p["message"]) for p in ran.progress] == [
        ("First", 0.0, ""),
        ("First", 25.0, ""),
        ("First", 50.0, ""),
        ("", 75.0, "Nearly"),
    ]


def test_run_job_raises_and_tells():
    with pytest.raises(RuntimeError):
        run_job(tasks.crash)
    assert run_job(tasks.crash, raises=False).problem["code"] == "failed"
    assert run_job(tasks.refuse, status=404).problem["status"] == 404


# --- HTTP --------------------------------------------------------------------------------------------------


def test_follow_returns_the_final_response(client):
    final = follow(client, client.post("/api/notes/", {"slug": "a", "title": "A"}))
    assert (final.status_code, final.data["slug"]) == (201, "a")


def test_follow_returns_the_problem_of_a_failure(client):
    accepted = client.post("/api/notes/", {"slug": "a", "title": "A"})
    Note.objects.create(slug="a", title="faster")
    assert follow(client, accepted).status_code == 400


def test_assert_accepted_returns_the_job(client):
    response = client.post("/api/sums/", {"x": 1, "y": 2})
    job = assert_accepted(response, operation="sums.create", input={"x": 1, "y": 2})
    assert accepted_jobs() == [job]


def test_assert_accepted_shows_what_came_instead(client):
    with pytest.raises(AssertionError, match=r"Expected a 202, got 400: .*not a slug|400: .*slug"):
        assert_accepted(client.post("/api/notes/", {"slug": "not a slug"}))


def test_assert_accepted_shows_what_is_different(client):
    with pytest.raises(AssertionError, match=r"operation is 'sums.create', not 'sums.delete'"):
        assert_accepted(client.post("/api/sums/", {"x": 1, "y": 2}), operation="sums.delete")


def test_accepted_jobs_are_those_that_wait():
    waiting = make_job(tasks.add, operation="sums.create")
    make_job(tasks.add, operation="sums.delete")
    make_job(tasks.add, state="running", operation="sums.create")
    assert accepted_jobs(operation="sums.create") == [waiting]


# --- make_job ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State.values)
def test_a_job_can_be_made_in_every_state(state):
    job = make_job(tasks.add, state=state)
    assert job.state == state
    job.full_clean(exclude=["owner"])


@override_settings(ROOT_URLCONF="tests.urls")
def test_a_made_job_is_served(client, django_user_model):
    job = make_job(state="succeeded", result={"x": 1}, owner=django_user_model.objects.get())
    assert client.get(f"/api/jobs/{job.pk}/result/").json() == {"x": 1}


def test_a_made_job_without_an_owner_is_anonymous():
    assert make_job().anonymous
    assert make_job().pk.version == 4
    assert not make_job(anonymous=False).anonymous


def test_a_made_job_has_the_limits_of_its_task():
    assert make_job(tasks.flaky).max_attempts == 5
    assert make_job(tasks.write_note).retry_when_lost
