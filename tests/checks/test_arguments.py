"""E011, and the same at accept: a task takes what its view's serializer gives."""

import pytest
from celery import shared_task
from django.core.exceptions import ImproperlyConfigured
from rest_framework import serializers
from rest_framework.generics import CreateAPIView, GenericAPIView, UpdateAPIView
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from async_accept.checks import check_views
from async_accept.decorators import accepts_task
from async_accept.mixins import AcceptCreateMixin, AcceptMixin
from async_accept.models import Job
from async_accept.tasks import JobTask
from tests.checks.conftest import mounted, told

pytestmark = pytest.mark.django_db


class Report(serializers.Serializer):
    days = serializers.IntegerField()
    currency = serializers.CharField(required=False)
    shown = serializers.CharField(read_only=True)


class WithDefault(Report):
    currency = serializers.CharField(default="EUR")


class Renamed(serializers.Serializer):
    number = serializers.IntegerField(source="days")


class Validated(Report):
    def validate(self, attrs):
        return {"days": attrs["days"]}


class Broken(Report):
    def get_fields(self):
        raise RuntimeError


@shared_task(base=JobTask)
def takes_both(days, currency="EUR"):
    """Do nothing."""


@shared_task(base=JobTask)
def needs_both(days, currency):
    """Do nothing."""


@shared_task(base=JobTask, bind=True, autoretry_for=(OSError,))
def takes_days(self, days):
    """Do nothing."""


@shared_task(base=JobTask)
def takes_any(**kwargs):
    """Do nothing."""


def view_of(task, serializer, base=CreateAPIView, **members):
    mixins = (AcceptCreateMixin,) if base is CreateAPIView else (AcceptMixin,)
    members |= {"accept_task": task, "serializer_class": serializer}
    return type("ReportView", (*mixins, base), members)


KNOWN = [
    (takes_both, Report, ""),
    (takes_any, Report, ""),
    (needs_both, WithDefault, ""),
    (takes_days, Renamed, ""),
    (takes_days, Validated, ""),
    (takes_days, Report, "currency"),
    (needs_both, Report, "currency"),
    (needs_both, Renamed, "currency"),
    (takes_days, Broken, ""),
]


@pytest.mark.parametrize(("task", "serializer", "named"), KNOWN)
def test_a_task_that_does_not_take_what_the_serializer_gives_is_told(task, serializer, named):
    with mounted(view_of(task, serializer).as_view()):
        found = told(check_views).get("E011")
    assert bool(found) == bool(named)
    if found:
        assert named in found.msg
        assert serializer.__name__ in found.msg


@pytest.mark.parametrize(
    "view",
    [
        view_of(takes_days, Report, get_accept_input=lambda self, request, validated: {"days": 1}),
        view_of(takes_days, Report, validate_accept=lambda self, request, instance=None: {"days": 1}),
        view_of(takes_days, Report, get_serializer_class=lambda self: Renamed),
        view_of(takes_days, Report, UpdateAPIView),
        view_of(takes_days, None, GenericAPIView),
    ],
)
def test_what_only_a_request_can_tell_is_not_told(view):
    with mounted(view.as_view()):
        assert "E011" not in told(check_views)


# --- At accept --------------------------------------------------------------------------------------------------------


def post(view, data, django_user_model):
    request = APIRequestFactory().post("/", data, format="json")
    force_authenticate(request, django_user_model.objects.create(username="alice"))
    return view.as_view()(request)


@pytest.mark.parametrize(
    ("task", "serializer", "data", "named"),
    [
        (takes_days, Report, {"days": 3, "currency": "hunter2"}, "currency"),
        (needs_both, Report, {"days": 3}, "currency"),
        (takes_days, Validated, {"days": 3}, ""),
        (takes_days, Report, {"days": 3}, ""),
    ],
)
def test_input_that_the_task_does_not_take_is_not_stored(task, serializer, data, named, django_user_model):
    view = view_of(task, serializer)
    if not named:
        assert post(view, data, django_user_model).status_code == 202
        return
    with pytest.raises(ImproperlyConfigured, match=f"{task.name} cannot be called .*'{named}'") as raised:
        post(view, data, django_user_model)
    assert "hunter2" not in str(raised.value)
    assert not Job.objects.exists()


def test_what_a_handler_gives_is_compared_as_well(django_user_model):
    class View(APIView):
        @accepts_task(takes_days)
        def post(self, request):
            return {"dayz": 3}

    with pytest.raises(ImproperlyConfigured, match=r"dayz|days"):
        post(View, {}, django_user_model)
    assert not Job.objects.exists()


def test_what_nobody_has_validated_is_the_clients_mistake(django_user_model):
    """Without a serializer, a client must not be able to make it a 500."""
    view = type(
        "Bare", (AcceptMixin, APIView), {"accept_task": takes_days, "post": lambda self, request: None}
    )
    answer = post(view, {"days": 3, "more": "x"}, django_user_model)
    assert (answer.status_code, "more" in str(answer.data)) == (400, True)
    assert not Job.objects.exists()
