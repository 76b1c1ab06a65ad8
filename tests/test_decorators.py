"""``@accepts`` where it cannot work is refused, with the line that mends it; and what it says of messages is kept."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import include, path
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

from async_accept.decorators import accepts, accepts_task
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.testing import run_accepted_jobs
from tests.testapp import tasks

pytestmark = pytest.mark.django_db


class DjangoView(View):
    def post(self, request):
        return HttpResponse()


class RestView(APIView):
    def post(self, request):
        return Response()


async def coroutine(request):
    return Response()


@pytest.mark.parametrize("decorator", [accepts(), accepts_task(tasks.add)], ids=["accepts", "accepts_task"])
@pytest.mark.parametrize(
    ("handler", "line"),
    [
        (DjangoView, r"class DjangoView\(AcceptMixin, APIView\):"),
        (DjangoView.as_view(), r"class DjangoView\(AcceptMixin, APIView\):"),
        (csrf_exempt(DjangoView.as_view()), r"class DjangoView\(AcceptMixin, APIView\):"),
        (RestView, r"class RestView\(AcceptMixin, APIView\):"),
        (type("Orders", (ModelViewSet,), {}), r"class Orders\(AcceptMixin, ModelViewSet\):"),
        (coroutine, "def coroutine"),
        (property(lambda self: None), "@api_view"),
    ],
    ids=["class", "as_view", "csrf_exempt", "APIView", "view set", "coroutine", "property"],
)
def test_what_is_no_handler_is_refused_at_import(decorator, handler, line):
    with pytest.raises(ImproperlyConfigured, match=line):
        decorator(handler)


def test_a_function_that_django_calls_is_refused_at_its_first_request():
    @accepts()
    def build(request):
        return HttpResponse()

    with pytest.raises(ImproperlyConfigured, match=r'@api_view\(\["POST"\]\).*def build'):
        build(RequestFactory().post("/"))


def test_a_method_that_django_calls_is_refused_at_its_first_request():
    class Build(View):
        @accepts()
        def post(self, request):
            return HttpResponse()

    with pytest.raises(ImproperlyConfigured, match=r"class Build\(APIView\):"):
        Build.as_view()(RequestFactory().post("/"))
    assert not Job.objects.exists()


# --- Messages ----------------------------------------------------------------------------------------------------

OF_VIEW = {"queue": "slow", "priority": 7, "time_limit": 60, "soft_time_limit": 50}


class Slow(AcceptMixin, RestView):
    authentication_classes = permission_classes = ()
    accept_queue, accept_priority = "slow", 7
    accept_time_limit, accept_soft_time_limit = 60, 50


class SlowTask(Slow):
    accept_task = tasks.echo

    def get_accept_input(self, request, validated):
        return {"x": 1}


class Method(APIView):
    authentication_classes = permission_classes = ()

    @accepts(**OF_VIEW)
    def post(self, request):
        return Response()


class Wrong(Slow):
    accept_time_limit = "60"


@api_view(["POST"])
@accepts(**OF_VIEW)
def function(request):
    return Response()


@accepts(**OF_VIEW)
@api_view(["POST"])
def whole(request):
    return Response()


VIEWS = [Slow.as_view(), SlowTask.as_view(), Method.as_view(), function, whole]
urlpatterns = [
    *(path(f"{number}/", view) for number, view in enumerate(VIEWS)),
    path("wrong/", Wrong.as_view()),
    path("plain/", Slow.as_view(accept_queue=None, accept_priority=None, accept_time_limit=None)),
    path("jobs/", include("async_accept.urls")),
]


@pytest.fixture(autouse=True)
def urls():
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.mark.parametrize("number", range(len(VIEWS)))
def test_what_the_view_says_of_its_messages_is_kept(client, number):
    assert client.post(f"/{number}/").status_code == 202
    assert Job.objects.get().message_options == OF_VIEW


def test_a_rerun_goes_the_same_way(client):
    accepted = client.post("/0/")
    run_accepted_jobs()
    assert client.post(accepted["Operation-Location"] + "rerun/").status_code == 202
    assert [job.message_options for job in Job.objects.all()] == [OF_VIEW, OF_VIEW]


def test_a_view_that_says_less_keeps_less(client):
    client.post("/plain/")
    assert Job.objects.get().message_options == {"soft_time_limit": 50}


def test_what_celery_could_not_use_is_refused_before_anything_is_stored(client):
    with pytest.raises(ImproperlyConfigured, match=r"Wrong\.accept_time_limit is '60'"):
        client.post("/wrong/")
    assert not Job.objects.exists()
