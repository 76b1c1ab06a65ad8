"""W011: whoever may send a request to a view can follow it, or the check prints the line that mends it."""

import pytest
from django.test import override_settings
from django.urls import include, path
from rest_framework import viewsets
from rest_framework.authentication import (
    BaseAuthentication,
    BasicAuthentication,
    SessionAuthentication,
    TokenAuthentication,
)
from rest_framework.decorators import action, api_view, authentication_classes
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from async_accept.checks import check_authentication
from async_accept.decorators import accepts, accepts_task
from async_accept.http.views import JobViewSet
from async_accept.mixins import AcceptCreateMixin, AcceptMixin
from async_accept.urls import job_urls
from tests.testapp import tasks

JOBS = path("api/jobs/", include("async_accept.urls"))


class KeyAuthentication(BaseAuthentication):
    """A scheme of the project's own."""


class Keyed(APIView):
    authentication_classes = (KeyAuthentication,)

    def post(self, request):
        """Answers at once."""


class Accepting(AcceptMixin, Keyed):
    pass


class Never(Accepting):
    accept_mode = "never"


class Open(Accepting):
    authentication_classes = ()


class Usual(AcceptMixin, APIView):
    def post(self, request):
        """By the project's own authentication."""


class ByMethod(Keyed):
    @accepts()
    def post(self, request):
        """Accepts."""


class ByTask(Keyed):
    @accepts_task(tasks.add)
    def post(self, request):
        """Accepts."""


class Orders(AcceptCreateMixin, viewsets.ModelViewSet):
    @action(detail=False, methods=["post"], authentication_classes=[KeyAuthentication])
    @accepts()
    def publish(self, request):
        """By a key only."""

    @action(detail=False, methods=["post"], authentication_classes=[KeyAuthentication])
    def count(self, request):
        """Answers at once."""


class OrdersByKey(AcceptCreateMixin, viewsets.ModelViewSet):
    authentication_classes = (KeyAuthentication, TokenAuthentication)


@api_view(["POST"])
@authentication_classes([KeyAuthentication])
@accepts()
def function(request):
    """Accepts."""


@accepts()
@api_view(["POST"])
@authentication_classes([KeyAuthentication])
def whole_function(request):
    """Accepts."""


@api_view(["POST"])
@authentication_classes([KeyAuthentication])
def plain_function(request):
    """Answers at once."""


def found(*patterns, jobs=JOBS):
    routes = type("urls", (), {"urlpatterns": [*patterns, jobs]})
    with override_settings(ROOT_URLCONF=routes):
        return check_authentication()


TOLD = {
    "mixin": Accepting.as_view(),
    "as_view()": Usual.as_view(authentication_classes=[KeyAuthentication]),
    "method": ByMethod.as_view(),
    "task": ByTask.as_view(),
    "view set": OrdersByKey.as_view({"post": "create"}),
    "action": Orders.as_view({"post": "publish"}, authentication_classes=[KeyAuthentication]),
    "function": function,
    "whole function": whole_function,
}
SILENT = {
    "default": Usual.as_view(),
    "no mixin": Keyed.as_view(),
    "never": Never.as_view(),
    "never by as_view()": Accepting.as_view(accept_mode="never"),
    "nobody is authenticated": Open.as_view(),
    "by as_view()": Accepting.as_view(authentication_classes=[TokenAuthentication]),
    "a handler that does not accept": OrdersByKey.as_view({"get": "list", "delete": "destroy"}),
    "an action that does not accept": Orders.as_view(
        {"post": "count"}, authentication_classes=[KeyAuthentication]
    ),
    "function": plain_function,
}


@pytest.mark.parametrize("view", TOLD.values(), ids=TOLD)
def test_a_scheme_of_the_views_own_is_told_with_the_line_to_paste(view):
    [message] = found(path("x/", view))

    assert message.id == "async_accept.W011"
    assert "KeyAuthentication to tests.checks.test_authentication." in message.msg
    pasted = {}
    exec(message.hint, pasted)  # noqa: S102 the line is to be pasted
    assert pasted["ASYNC_ACCEPT"]["AUTHENTICATION_CLASSES"] == [
        *(
            f"rest_framework.authentication.{kind.__name__}"
            for kind in (TokenAuthentication, SessionAuthentication)
        ),
        "tests.checks.test_authentication.KeyAuthentication",
    ]
    with override_settings(**{name: pasted[name] for name in ["ASYNC_ACCEPT"]}):
        assert found(path("x/", view)) == []


@pytest.mark.parametrize("view", SILENT.values(), ids=SILENT)
def test_what_can_be_followed_is_not_told(view):
    assert found(path("x/", view)) == []


def test_a_router_brings_the_authentication_of_its_actions():
    router = SimpleRouter()
    router.register("orders", Orders, basename="order")
    [message] = found(path("", include(router.urls)))
    assert message.msg.count("tests.checks.test_authentication.Orders") == 1


def test_one_message_for_all_views_and_schemes():
    views = [
        Accepting.as_view(),
        ByMethod.as_view(),
        Usual.as_view(authentication_classes=[BasicAuthentication]),
    ]
    [message] = found(*(path(f"{number}/", view) for number, view in enumerate(views)))
    assert "KeyAuthentication to tests.checks.test_authentication.Accepting, tests" in message.msg
    assert "BasicAuthentication to tests.checks.test_authentication.Usual" in message.msg
    assert message.hint.index("KeyAuthentication") < message.hint.index("BasicAuthentication")


def test_other_settings_stay_beside_the_line():
    with override_settings(ASYNC_ACCEPT={"MAX_WAIT_SECONDS": 5}):
        [message] = found(path("x/", Accepting.as_view()))
    assert message.hint.startswith('"AUTHENTICATION_CLASSES": [')


def test_job_views_of_the_projects_own_are_compared():
    class Jobs(JobViewSet):
        authentication_classes = (KeyAuthentication,)

    jobs = path("api/jobs/", include(job_urls(Jobs)))
    assert found(path("x/", Accepting.as_view()), jobs=jobs) == []
    [message] = found(path("x/", Usual.as_view()), jobs=jobs)
    assert "TokenAuthentication" in message.msg


def test_without_urls_of_jobs_there_is_nothing_to_compare():
    assert found(path("x/", Accepting.as_view()), jobs=path("y/", Keyed.as_view())) == []
