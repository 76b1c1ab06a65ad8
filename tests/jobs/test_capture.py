"""What is kept of a request is what the view was called with; a request that no worker could replay gets no 202."""

from functools import wraps

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from async_accept.decorators import accepts
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.testing import follow
from tests.testapp import tasks
from tests.testapp.models import Shelf

pytestmark = pytest.mark.django_db


class Open(APIView):
    authentication_classes = permission_classes = ()

    def post(self, request, **kwargs):
        told = {name: str(value) for name, value in kwargs.items()}
        return Response([getattr(self, "tenant", None), told, sorted(self.kwargs)])


# --- A view that changes its arguments ---------------------------------------------------------------------------


class DispatchTakes(Open):
    def dispatch(self, request, *args, **kwargs):
        self.tenant = kwargs.pop("tenant")
        return super().dispatch(request, *args, **kwargs)


class SetupTakes(Open):
    def setup(self, request, *args, **kwargs):
        self.tenant = kwargs.pop("tenant")
        super().setup(request, *args, **kwargs)

    def dispatch(self, request, *args, tenant, **kwargs):
        return super().dispatch(request, *args, **kwargs)


class InitialTakes(Open):
    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        self.tenant = self.kwargs.pop("tenant")


class InitialAdds(Open):
    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        self.kwargs["shelf"] = Shelf.objects.get()


class DispatchReplaces(Open):
    def dispatch(self, request, *args, tenant, **kwargs):
        return super().dispatch(request, *args, shelf=Shelf.objects.get(), **kwargs)


CHANGING = [DispatchTakes, SetupTakes, InitialTakes, InitialAdds, DispatchReplaces]


class Echo(AcceptMixin, Open):
    def post(self, request, **kwargs):
        return Response([request.data, sorted(kwargs)])


class Added(Echo):
    accept_task = tasks.echo

    def get_accept_input(self, request, validated):
        return {"x": 1}


@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
@accepts()
def function(request, **kwargs):
    return Response([request.data, sorted(kwargs)])


# --- What calls a view -------------------------------------------------------------------------------------------


def calling(view):
    """Return a function that calls *view*, as a decorator without ``functools.wraps`` and a chooser do."""

    @csrf_exempt
    def call(request, **kwargs):
        return view(request, **kwargs)

    return call


def decorated(view):
    @wraps(view)
    def call(request, **kwargs):
        response = view(request, by="decorator", **kwargs)
        response["X-By"] = "decorator"
        return response

    return call


class Outer(Open):
    def post(self, request, **kwargs):
        return Echo.as_view()(request._request, **kwargs)


# -----------------------------------------------------------------------------------------------------------------


def with_mixin(view):
    return type(view.__name__, (AcceptMixin, view), {})


def with_decorator(view):
    return type(view.__name__, (view,), {"post": accepts()(view.post)})


urlpatterns = [
    path("api/jobs/", include("async_accept.urls")),
    path("calling/", calling(Echo.as_view())),
    path("calling/task/", calling(Added.as_view())),
    path("calling/function/", calling(function)),
    path("outer/", Outer.as_view()),
    path("decorated/", decorated(Echo.as_view())),
    path("decorated/function/", decorated(function)),
]
for each in CHANGING:
    for kind, made in {"plain": each, "mixin": with_mixin(each), "accepts": with_decorator(each)}.items():
        urlpatterns.append(path(f"<tenant>/{kind}/{each.__name__}/", made.as_view()))


@pytest.fixture(autouse=True)
def _project(settings):
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def client():
    return APIClient()


@pytest.mark.parametrize("kind", ["mixin", "accepts"])
@pytest.mark.parametrize("view", CHANGING)
def test_a_view_may_change_its_arguments(view, kind, client):
    Shelf.objects.create(name="top")
    now = client.post(f"/acme/plain/{view.__name__}/")
    later = follow(client, client.post(f"/acme/{kind}/{view.__name__}/"))
    assert (later.status_code, later.json()) == (now.status_code, now.json()) == (200, now.json())


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("/calling/", r"test_capture\.calling\.<locals>\.call, which calls Echo"),
        ("/calling/task/", r"which calls Added.*path\(\.\.\., Added\.as_view\(\)\)"),
        ("/calling/function/", "which calls function.*functools.wraps"),
        ("/outer/", r"test_capture\.Outer, which calls Echo"),
    ],
)
def test_what_a_worker_could_not_find_again_is_refused(url, names, client):
    with pytest.raises(ImproperlyConfigured, match=names):
        client.post(url, {})
    assert not Job.objects.exists()


@pytest.mark.parametrize("url", ["/decorated/", "/decorated/function/"])
def test_a_decorator_in_the_urlconf_runs_in_the_request(url, client):
    accepted = client.post(url, {"a": 1})
    answer = follow(client, accepted)
    assert answer.json() == [{"a": 1}, ["by"]]
    assert (accepted["X-By"], "X-By" in answer) == ("decorator", False)
