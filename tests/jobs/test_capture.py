"""What is kept of a request is what the view was called with; a request that no worker could replay gets no 202."""

import pytest
from django.urls import include, path
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from async_accept.decorators import accepts
from async_accept.mixins import AcceptMixin
from async_accept.testing import follow
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


def with_mixin(view):
    return type(view.__name__, (AcceptMixin, view), {})


def with_decorator(view):
    return type(view.__name__, (view,), {"post": accepts()(view.post)})


urlpatterns = [path("api/jobs/", include("async_accept.urls"))]
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
