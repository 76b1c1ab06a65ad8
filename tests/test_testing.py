"""The helpers for other people's tests: honest, without broker, worker and sleep."""

import pytest
from celery import current_app, group, shared_task
from celery.contrib.django.task import DjangoTask
from django.db import transaction
from django.http import HttpResponse
from django.test import Client, TestCase, override_settings
from kombu import Producer
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient, RequestsClient

from async_accept.jobs.accept import accept
from async_accept.jobs.broker import Broker, broker
from async_accept.models import Job
from async_accept.progress import report, track
from async_accept.states import State
from async_accept.tasks import JobTask
from async_accept.testing import (
    SentTask,
    accepted_jobs,
    assert_accepted,
    follow,
    make_job,
    run_accepted_jobs,
    run_job,
    sent_tasks,
)
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
        for atomic in (False, True):

            @shared_task(base=JobTask, name=f"tests.fail_at_commit_{atomic}", atomic=atomic)
            def fail_at_commit():
                transaction.on_commit(lambda: 1 / 0)

            make_job(fail_at_commit)
            with self.subTest(atomic=atomic), pytest.raises(ZeroDivisionError):
                run_accepted_jobs()


@pytest.mark.django_db(transaction=True)
def test_eager_mode_has_run_the_job_already(client, eager):
    accepted = client.post("/api/sums/", {"x": 1, "y": 2})
    assert run_accepted_jobs() == []
    assert follow(client, accepted).data == 3


# --- Other tasks -------------------------------------------------------------------------------------------


@shared_task(base=DjangoTask)
def send_mail(to="", subject=""):
    mails.append((to, subject))


@shared_task(base=JobTask)
def leave_to_other_tasks(way):
    WAYS[way]()


mails = []
MAIL = "tests.test_testing.send_mail"
WAYS = {
    "delay": lambda: send_mail.delay("a", subject="b"),
    "apply_async": lambda: send_mail.apply_async(["a"], {"subject": "b"}, countdown=60, queue="mail"),
    "send_task": lambda: current_app.send_task(MAIL, ["a"], {"subject": "b"}, 60),
    "signature": lambda: send_mail.s("a", subject="b").delay(),
    "chain": lambda: (send_mail.si("a", subject="b") | send_mail.si()).delay(),
    "group": lambda: group(send_mail.s("a", subject="b")).delay(),
    "on_commit": lambda: transaction.on_commit(lambda: send_mail.delay("a", subject="b")),
    "delay_on_commit": lambda: send_mail.delay_on_commit("a", subject="b"),
}


@pytest.fixture
def published(monkeypatch):
    """The tasks whose messages reach the broker."""
    names = []
    publish = Producer.publish

    def note(*args, headers, **kwargs):
        names.append(headers["task"])
        return publish(*args, headers=headers, **kwargs)

    monkeypatch.setattr(Producer, "publish", note)
    mails.clear()
    return names


@pytest.mark.parametrize("way", WAYS)
def test_other_tasks_are_kept_from_the_broker(published, way):
    make_job(leave_to_other_tasks, input={"way": way})
    with sent_tasks() as sent:
        assert [job.state for job in run_accepted_jobs()] == ["succeeded"]
    assert sent == [SentTask(MAIL, ("a",), {"subject": "b"})]
    assert published == mails == []


@pytest.mark.parametrize("way", sorted(set(WAYS) - {"send_task"}))
def test_in_eager_mode_other_tasks_run_as_the_project_says(published, eager, way):
    make_job(leave_to_other_tasks, input={"way": way})
    with sent_tasks() as sent:
        assert [job.state for job in run_accepted_jobs()] == ["succeeded"]
    assert mails[0] == ("a", "b")
    assert sent == published == []


def test_a_task_that_is_sent_by_its_name_is_kept_in_eager_mode_too(published, eager):
    """Celery sends it in eager mode as well."""
    make_job(leave_to_other_tasks, input={"way": "send_task"})
    with sent_tasks() as sent:
        run_accepted_jobs()
    assert [task.name for task in sent] == [MAIL]
    assert published == []


@pytest.mark.django_db(transaction=True)
def test_other_tasks_are_kept_without_a_transaction_of_the_test(published):
    assert run_job(leave_to_other_tasks, way="on_commit").sent == [SentTask(MAIL, ("a",), {"subject": "b"})]
    assert published == []


@pytest.mark.django_db(transaction=True)
def test_jobs_that_jobs_accept_reach_no_broker(published, monkeypatch):
    @shared_task(base=JobTask, name="tests.accept_more")
    def accept_more():
        accept(Job(operation="add", task=tasks.add.name, input={"x": 1, "y": 2}))

    monkeypatch.setattr(broker, "pause_until", 0)
    monkeypatch.setattr(Broker, "_use", lambda *args: pytest.fail("The broker was asked."))
    job = make_job(accept_more)
    with sent_tasks() as sent:
        assert [job.state for job in run_accepted_jobs()] == ["succeeded", "succeeded"]
    assert sent == published == []
    assert job.pk


def test_options_of_a_task_that_was_sent():
    with sent_tasks() as sent:
        WAYS["apply_async"]()
        WAYS["send_task"]()
    assert {key: sent[0].options[key] for key in ("countdown", "queue")} == {"countdown": 60, "queue": "mail"}
    assert sent[1].options == {"countdown": 60}


def test_a_task_that_was_sent_has_an_id():
    with sent_tasks():
        assert send_mail.delay().id
        assert send_mail.apply_async(task_id="mine").id == "mine"


def test_blocks_inside_of_each_other_have_lists_of_their_own():
    with sent_tasks() as outer:
        with sent_tasks() as inner:
            send_mail.delay("a")
        send_mail.delay("b")
    assert [task.args for task in inner] == [("a",)]
    assert [task.args for task in outer] == [("a",), ("b",)]


def test_after_the_block_tasks_are_sent_again(published):
    make_job(tasks.crash)
    with pytest.raises(RuntimeError):
        run_accepted_jobs()
    send_mail.delay()
    assert published == [MAIL]


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


def test_follow_asks_where_the_answer_leads(client, settings):
    """A project that redirects to https, and whose hosts have different URLs, is followed as any other."""
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["shop.example"]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.only_shop_example"]
    body = {"slug": "a", "title": "A"}
    accepted = client.post("/api/notes/", body, secure=True, headers={"host": "shop.example:8443"})
    assert accepted["Location"].startswith("https://shop.example:8443/")
    assert follow(client, accepted).status_code == 201


def only_shop_example(get_response):
    return lambda request: (
        get_response(request) if request.get_host() == "shop.example:8443" else HttpResponse()
    )


@pytest.mark.parametrize("kind", [Client, APIClient])
def test_follow_is_the_same_caller(kind, django_user_model):
    token = Token.objects.create(user=django_user_model.objects.create(username="alice"))
    headers = {"Authorization": f"Token {token.key}"}
    note = '{"slug": "a", "title": "A"}'
    accepted = kind().post("/api/notes/", note, content_type="application/json", headers=headers)
    assert Job.objects.get().owner == token.user
    assert follow(kind(), accepted).status_code == 201


@pytest.mark.django_db(transaction=True)  # that client closes the connection
def test_follow_takes_a_client_that_is_not_djangos(django_user_model):
    token = Token.objects.create(user=django_user_model.objects.create(username="alice"))
    client = RequestsClient()
    client.headers["Authorization"] = f"Token {token.key}"
    accepted = client.post("http://testserver/api/notes/", json={"slug": "a", "title": "A"})
    assert follow(client, accepted).status_code == 201


def test_assert_accepted_returns_the_job(client):
    response = client.post("/api/sums/", {"x": 1, "y": 2})
    job = assert_accepted(response, operation="sums.create", input={"x": 1, "y": 2})
    assert accepted_jobs() == [job]


def test_assert_accepted_knows_a_url_with_a_version_in_its_query():
    job = make_job()
    url = f"http://testserver/api/jobs/{job.pk}/?version=2"
    assert assert_accepted(HttpResponse(status=202, headers={"Operation-Location": url})) == job


def test_assert_accepted_shows_what_came_instead(client):
    with pytest.raises(AssertionError, match=r"Expected a 202, got 400: .*not a slug|400: .*slug"):
        assert_accepted(client.post("/api/notes/", {"slug": "not a slug"}))


@pytest.mark.parametrize("headers", [{}, {"Operation-Location": "https://azure.example/operations/17"}])
def test_assert_accepted_knows_a_202_of_somebody_else(headers):
    with pytest.raises(AssertionError, match="This 202 is none of ours"):
        assert_accepted(HttpResponse(status=202, headers=headers))


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
