"""Requests that nobody thinks of while a view is written: each gets what an ordinary one gets, or is refused."""

import json

import pytest
from celery import shared_task
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.urls import include, path
from rest_framework.authentication import BaseAuthentication
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from async_accept.jobs import replay
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.querysets import owns
from async_accept.tasks import JobTask
from async_accept.testing import make_job, run_accepted_jobs

pytestmark = pytest.mark.django_db


@shared_task(base=JobTask)
def add_up(x, y):
    return {"sum": x + y}


class Claims(BaseAuthentication):
    """Makes the user of what a token says, without a query: the subject of a JWT is a text (RFC 7519)."""

    def authenticate(self, request):
        return get_user_model()(pk=request.META["HTTP_SUB"], username="alice"), None


class Task(AcceptMixin, APIView):
    accept_task = add_up


class Plain(AcceptMixin, APIView):
    def post(self, request):
        return Response({"by": str(request.user)}, status=201)


class Claimed(Plain):
    authentication_classes = [Claims]
    accept_when_active = "join"

    def accept_active_key(self, request, validated):
        return "one"


class Keyed(Plain):
    def accept_active_key(self, request, validated):
        return object()


class Long(Plain):
    def get_accept_object(self):
        return get_user_model()(pk="x" * 256)


class URLs:
    urlpatterns = [
        path("api/jobs/", include("async_accept.urls")),
        *(path(f"{view.__name__}/", view.as_view()) for view in (Task, Plain, Claimed, Keyed, Long)),
    ]


@pytest.fixture(autouse=True)
def _urls(settings):
    settings.ROOT_URLCONF = URLs


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        *(
            (json.dumps(data), "application/json")
            for data in ({"x": 1}, [1, 2], 5, "a", None, {"csrfmiddlewaretoken": 1})
        ),
        ("x=1", "application/x-www-form-urlencoded"),
        ("x=1&csrfmiddlewaretoken=abc", "application/x-www-form-urlencoded"),
    ],
)
def test_what_a_task_does_not_take_is_the_clients_error_if_nothing_validates_it(alices, body, kind):
    answer = alices.post("/Task/", body, content_type=kind)
    assert (answer.status_code, Job.objects.count()) == (400, 0)


def test_an_owner_whose_key_came_as_a_text_owns_the_job(alice, settings):
    settings.ASYNC_ACCEPT = {"AUTHENTICATION_CLASSES": [Claims]}
    client = APIClient(headers={"sub": str(alice.pk)})
    first, second = (client.post("/Claimed/", {}, format="json") for _ in range(2))
    monitor = first["Operation-Location"]
    assert (first.status_code, second.status_code, second["Operation-Location"]) == (202, 202, monitor)
    assert client.post(f"{monitor}cancel/").status_code == 202
    assert client.post(f"{monitor}rerun/").status_code == 202
    assert client.delete(monitor).status_code == 204


class ReadsElsewhere:
    """A router of a project with a replica, which has not heard of relations."""

    def db_for_read(self, model, **hints):
        return None

    def db_for_write(self, model, **hints):
        return "default"


def test_a_user_may_come_from_a_replica(alice, alices, settings):
    settings.DATABASE_ROUTERS = [ReadsElsewhere()]
    alice._state.db = "replica"
    assert alices.post("/Plain/", {}, format="json").status_code == 202
    assert Job.objects.get().owner_id == alice.pk


def test_an_object_whose_key_is_too_long_is_not_stored_with_the_job(alices):
    assert alices.post("/Long/", {}, format="json").status_code == 202
    job = Job.objects.get()
    assert (job.object_type_id, job.object_id) == (None, None)


def test_an_active_key_that_cannot_be_told_apart_is_the_projects_error(alices):
    with pytest.raises(ImproperlyConfigured, match="returned a object"):
        alices.post("/Keyed/", {}, format="json")
    assert not Job.objects.exists()


def test_a_user_model_need_not_know_who_is_active(alice, alices, monkeypatch):
    alices.post("/Plain/", {}, format="json")
    monkeypatch.setattr(replay, "get_user_model", lambda: WithoutActive)
    run_accepted_jobs()
    assert Job.objects.get().state == "succeeded"


class _Manager:
    def filter(self, pk):
        return self

    def first(self):
        return type("User", (), {"pk": 1, "is_authenticated": True})()


class WithoutActive:
    _default_manager = _Manager()


def test_the_job_of_a_deleted_owner_is_nobodys():
    assert not owns(get_user_model()(), make_job(owner=None, anonymous=False))
