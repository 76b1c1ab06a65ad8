"""What atomic work has left to ``on_commit()`` fails, and the job's end is told all the same."""

import pytest
from celery import shared_task
from django.db import transaction
from rest_framework.test import APIClient

from async_accept import signals
from async_accept.jobs import publish, results
from async_accept.jobs.accept import accept
from async_accept.models import Job, new_id
from async_accept.tasks import JobTask, atomic_from_here
from async_accept.testing import make_job
from async_accept.testing.running import waiting_jobs
from tests.testapp.views import NoteViewSet

pytestmark = pytest.mark.django_db(transaction=True)

#: It stands in no source line whole.
SECRET = "".join(["hun", "ter", "2"])
called = []


def fail():
    raise ConnectionError(SECRET)


def stop():
    raise SystemExit


@shared_task(base=JobTask, atomic=True)
def leave_failing(callback="fail"):
    transaction.on_commit({"fail": fail, "stop": stop}[callback])
    transaction.on_commit(lambda: called.append("the next one"))
    return "done"


@shared_task(base=JobTask)
def leave_failing_late():
    atomic_from_here()
    return leave_failing.run()


@pytest.fixture
def told():
    """The names of the signals that were sent for the end of a job, and its callbacks that were called."""
    called.clear()

    def note(signal, **kwargs):
        called.append("succeeded" if signal is signals.job_succeeded else "failed")

    for signal in (signals.job_succeeded, signals.job_failed):
        signal.connect(note)
    yield called
    for signal in (signals.job_succeeded, signals.job_failed):
        signal.disconnect(note)


@pytest.mark.parametrize(
    ("task", "values"),
    [(leave_failing, {}), (leave_failing, {"callback": "stop"}), (leave_failing_late, {})],
    ids=["error", "sys.exit", "late transaction"],
)
def test_end_is_told_whatever_a_callback_raises(told, task, values):
    job = make_job(task, input=values)
    publish.run_here(job)
    job.refresh_from_db()
    assert (job.state, results.read(job)) == ("succeeded", '"done"')
    assert told == ["the next one", "succeeded"]


def test_turn_is_passed_on_at_once(told, monkeypatch):
    published = []
    monkeypatch.setattr(publish, "publish_accepted", lambda job: published.append(job.pk))
    first, second = (
        accept(Job(id=new_id(), operation="o", task=leave_failing.name, input={}, order_key="one"))
        for _ in range(2)
    )
    publish.run_here(first)
    second.refresh_from_db()
    assert second.active_key is not None
    assert published == [first.pk, second.pk]


def test_error_is_logged_without_its_message(told, caplog):
    job = make_job(leave_failing)
    publish.run_here(job)
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.getMessage().startswith(
        f"A callback of job {job.pk} failed after the commit: ConnectionError in "
    )
    assert record.job_id == str(job.pk)
    assert "in fail" in caplog.text
    assert SECRET not in caplog.text


def test_replayed_view_keeps_its_answer(told, alice, monkeypatch):
    def perform_create(self, serializer):
        serializer.save()
        transaction.on_commit(fail)

    monkeypatch.setattr(NoteViewSet, "perform_create", perform_create)
    client = APIClient()
    client.force_authenticate(alice)
    with waiting_jobs():
        client.post("/api/notes/", {"slug": "a", "title": "A"})
    publish.run_here(Job.objects.get())
    assert Job.objects.get().response["status"] == 201
    assert told == ["succeeded"]


def test_what_waited_before_the_work_is_left_alone(told):
    """In eager mode and in tests: a callback of the caller still fails its transaction."""
    job = make_job(leave_failing)
    with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012 the commit raises
        transaction.on_commit(lambda: 1 / 0)
        publish.run_here(job)
