"""E005, E006, E008, E009, E010, E017, W005: views."""

import pytest
from celery import current_app, shared_task
from django.test import override_settings
from django.views import View
from kombu import Queue
from rest_framework import mixins, viewsets
from rest_framework.decorators import action, api_view
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from async_accept import checks
from async_accept.checks import check_views
from async_accept.decorators import accepts, accepts_task
from async_accept.http.throttling import PollThrottle
from async_accept.http.views import JobViewSet
from async_accept.mixins import AcceptCreateMixin, AcceptMixin
from async_accept.tasks import JobTask
from tests.checks.conftest import mounted, told


@shared_task
def ordinary_task():
    """A task that is no ``JobTask``."""


@shared_task(base=JobTask)
def job_task():
    """As it should be."""


def plain_function():
    """No task at all."""


def views_with(task):
    """Every place where a view can name its task."""

    class WithAttribute(AcceptMixin, APIView):
        accept_task = task

    class Adapter(AcceptMixin, APIView):
        pass

    class WithMethod(APIView):
        @accepts_task(task)
        def post(self, request):
            return {}

    class WithAction(viewsets.ViewSet):
        @action(detail=False, methods=["post"])
        @accepts_task(task)
        def build(self, request):
            return {}

    @api_view(["POST"])
    @accepts_task(task)
    def function(request):
        return {}

    return {
        "attribute": WithAttribute.as_view(),
        "as_view()": Adapter.as_view(accept_task=task),
        "method": WithMethod.as_view(),
        "action": WithAction.as_view({"post": "build"}),
        "function": function,
    }


PLACES = ["attribute", "as_view()", "method", "action", "function"]


@pytest.mark.parametrize("place", PLACES)
def test_a_job_task_is_not_told(place):
    with mounted(views_with(job_task)[place]):
        assert told(check_views) == {}


@pytest.mark.parametrize("place", PLACES)
def test_a_task_that_is_no_job_task_is_told(place):
    with mounted(views_with(ordinary_task)[place]):
        messages = told(check_views)
    assert set(messages) == {"E006"}
    assert "@shared_task(base=JobTask)" in messages["E006"].hint


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_task_at_all_is_told(place):
    with mounted(views_with(plain_function)[place]):
        messages = told(check_views)
    assert set(messages) == {"E005"}
    assert "above plain_function" in messages["E005"].hint


def test_a_view_with_several_routes_is_told_once():
    view = views_with(ordinary_task)["method"]
    with mounted(view, view):
        assert len(check_views()) == 1


def test_a_mixin_behind_the_views_class_is_told_with_the_right_order():
    class Orders(viewsets.ModelViewSet, AcceptCreateMixin):
        pass

    class SpecialOrders(Orders):
        pass

    class Report(APIView, AcceptMixin):
        pass

    view_set = SpecialOrders.as_view({"post": "create"})
    with mounted(Orders.as_view({"post": "create"}), view_set, view_set, Report.as_view()):
        messages = check_views()
    assert {message.id for message in messages} == {"async_accept.E008"}
    assert sorted(message.hint for message in messages) == [
        "class Orders(AcceptCreateMixin, ModelViewSet):",
        "class Report(AcceptMixin, APIView):",
    ]


def test_a_mixin_among_mixins_is_not_told():
    class Orders(mixins.CreateModelMixin, AcceptCreateMixin, viewsets.GenericViewSet):
        pass

    with mounted(Orders.as_view({"post": "create"})):
        assert check_views() == []


def test_a_throttle_of_the_whole_project_that_counts_polls_is_told():
    class Jobs(JobViewSet):
        throttle_classes = (UserRateThrottle,)

    project_wide = override_settings(
        REST_FRAMEWORK={"DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"]}
    )
    with mounted(Jobs.as_view({"get": "list"})), project_wide:
        assert "PollThrottle" in told(check_views)["W005"].hint


def test_the_jobs_own_throttle_is_not_told():
    assert JobViewSet.throttle_classes == (PollThrottle,)
    with mounted(JobViewSet.as_view({"get": "list"})):
        assert told(check_views) == {}


@pytest.mark.parametrize("where", ["view", "route", "handler"])
def test_a_time_limit_that_is_none_is_told(where):
    wrong = {"accept_time_limit": "60"}

    class Report(AcceptMixin, APIView):
        pass

    class Decorated(APIView):
        @accepts(time_limit="60")
        def post(self, request):
            """Do nothing."""

    views = {"view": type("Report", (Report,), wrong).as_view, "handler": Decorated.as_view}
    view = Report.as_view(**wrong) if where == "route" else views[where]()
    with mounted(view, view):
        (message,) = checks.check_views()
    assert message.id == "async_accept.E009"
    assert "accept_time_limit is '60'" in message.msg


@pytest.mark.parametrize(("known", "ids"), [("slow", set()), ("other", {"async_accept.E009"})])
def test_a_queue_that_celery_does_not_make_is_told(monkeypatch, request, known, ids):
    class Report(AcceptMixin, APIView):
        accept_queue = "slow"

    current_app.conf.task_create_missing_queues = False
    request.addfinalizer(lambda: setattr(current_app.conf, "task_create_missing_queues", True))
    monkeypatch.setattr(current_app.amqp, "queues", current_app.amqp.Queues([Queue(known)]))
    with mounted(Report.as_view()):
        assert {message.id for message in checks.check_views()} == ids


@pytest.mark.parametrize("where", ["view", "as_view", "handler"])
def test_an_operation_that_is_too_long_is_told(where):
    long = "o" * 101

    class Report(AcceptMixin, APIView):
        accept_operation = long if where == "view" else "o" * 100

        @accepts(operation=long if where == "handler" else None)
        def put(self, request):
            """Do nothing."""

    with mounted(Report.as_view(**({"accept_operation": long} if where == "as_view" else {}))):
        (message,) = check_views()
    assert message.id == "async_accept.E017"
    assert "Report" in message.msg


def test_accepts_on_a_view_of_djangos_is_told():
    """At import nobody could tell whether ``@api_view`` comes above it."""

    @accepts()
    def function(request):
        """Do nothing."""

    class Method(View):
        @accepts()
        def post(self, request):
            """Do nothing."""

    class Fine(APIView):
        @accepts()
        def post(self, request):
            """Do nothing."""

    with mounted(function, function, Method.as_view(), Fine.as_view(), api_view(["POST"])(function)):
        messages = checks.check_views()
    assert [message.id for message in messages] == ["async_accept.E010"] * 2
    assert ['@api_view(["POST"])' in message.msg for message in messages] == [True, False]
    assert "class Method(APIView):" in messages[1].msg
