"""Work that catches an error of the database, or insists on the outermost transaction: at once, and in the worker."""

import pytest
from celery import shared_task
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.urls import include, path
from django_celery_results.models import TaskResult
from rest_framework.response import Response
from rest_framework.views import APIView

from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.tasks import JobTask, atomic_from_here
from async_accept.testing import make_job, run_accepted_jobs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]


def add_again():
    try:
        Group.objects.create(name="a")  # it exists
    except IntegrityError:
        return True


def twin():
    add_again()
    return Group.objects.count()


def quiet():
    """As ``twin()``, but nothing is asked of the database any more."""
    add_again()
    return "fine"


def careful():
    with transaction.atomic():
        Group.objects.create(name="b")
    try:
        with transaction.atomic():
            Group.objects.create(name="a")
    except IntegrityError:
        return Group.objects.count()


def durable():
    with transaction.atomic(durable=True):
        return Group.objects.create(name="b").name


WORKS = {work.__name__: work for work in (twin, quiet, careful, durable)}


class Works(AcceptMixin, APIView):
    authentication_classes = permission_classes = ()
    accept_mode = "prefer"

    def post(self, request):
        return Response(WORKS[request.data["work"]]())


@shared_task(base=JobTask, atomic=True)
def atomic(work):
    return WORKS[work]()


@shared_task(base=JobTask)
def atomic_late(work):
    value = WORKS[work]()
    atomic_from_here()
    return value


urlpatterns = [path("works/", Works.as_view()), path("api/jobs/", include("async_accept.urls"))]


@pytest.fixture(autouse=True)
def exists():
    Group.objects.create(name="a")


def names_two_ways(text):
    return "There are two ways out: transaction.atomic() around" in text


@pytest.mark.parametrize("setting", [False, True], ids=["autocommit", "ATOMIC_REQUESTS"])
@pytest.mark.parametrize("work", WORKS)
def test_a_replay_answers_as_the_view_does_at_once(client, monkeypatch, caplog, setting, work):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", setting)
    client.raise_request_exception = False
    send = {"data": {"work": work}, "content_type": "application/json"}
    at_once = client.post("/works/", **send)
    Group.objects.exclude(name="a").delete()
    accepted = client.post("/works/", headers={"Prefer": "respond-async"}, **send)
    run_accepted_jobs(raises=False)
    job, later = Job.objects.get(), client.get(accepted["Location"])
    fails = setting and work in ("twin", "durable")  # at once, too: Django refuses it
    assert (at_once.status_code, later.status_code) == ((500, 409) if fails else (200, 200))
    if not fails:
        assert later.content == at_once.content
    assert names_two_ways(caplog.text) is fails
    assert names_two_ways(TaskResult.objects.get(task_id=str(job.pk)).traceback or "") is fails


@pytest.mark.parametrize(
    ("task", "work", "state"),
    [
        (atomic, "twin", "failed"),
        (atomic, "quiet", "failed"),
        (atomic, "durable", "failed"),
        (atomic, "careful", "succeeded"),
        (atomic_late, "twin", "succeeded"),
        (atomic_late, "durable", "succeeded"),
    ],
)
def test_an_atomic_task_that_cannot_commit_says_why(caplog, task, work, state):
    """Nothing of it is left, and the log and the admin name the two ways out."""
    job = make_job(task, input={"work": work})
    run_accepted_jobs(raises=False)
    job.refresh_from_db()
    assert job.state == state
    fails = state == "failed"
    assert names_two_ways(caplog.text) is fails
    assert names_two_ways(TaskResult.objects.get(task_id=str(job.pk)).traceback or "") is fails
    if fails:
        assert list(Group.objects.values_list("name", flat=True)) == ["a"]
