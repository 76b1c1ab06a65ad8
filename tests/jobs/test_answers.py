"""What a task answers is rendered by the view that accepted it, as if that had answered."""

import pytest
from celery import shared_task
from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.test import override_settings
from django.urls import include, path
from django.utils import timezone
from django.utils.translation import gettext_lazy
from rest_framework.decorators import api_view, renderer_classes
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.response import Response
from rest_framework.urlpatterns import format_suffix_patterns
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from async_accept.decorators import accepts_task
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.tasks import JobTask
from async_accept.testing import follow, run_accepted_jobs
from tests import urls

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

VALUES = {
    "mapping": lambda: {"a_b": [1]},
    "list": lambda: [{"a_b": 1}],
    "zero": lambda: 0,
    "response": lambda: Response({"a_b": 1}, status=201, headers={"X-Own": "yes"}),
    "hal": lambda: Response({"a_b": 1}, content_type="application/hal+json"),
    "refusal": lambda: Response({"a_b": "no"}, status=422),
    "lazy": lambda: {"said": gettext_lazy("Yes")},
    "nan": lambda: {"x": float("nan")},
    "object": lambda: {"x": object()},
    "csv": lambda: HttpResponse("a;b", content_type="text/csv; charset=iso-8859-1"),
    "page": lambda: TemplateResponse(None, "async_accept/icons.html"),
}


@shared_task(base=JobTask, name="tests.rendering")
def answer(kind=None):
    return None if kind is None else VALUES[kind]()


class Envelope(JSONRenderer):
    """Knows its request, its view and its response."""

    def render(self, data, accepted_media_type=None, renderer_context=None):
        response, view = renderer_context["response"], renderer_context["view"]
        request, kwargs = renderer_context["request"], renderer_context["kwargs"]
        told = {
            "payload": data,
            "status": response.status_code,
            "user": str(request.user),
            "query": request.query_params.dict(),
            "action": getattr(view, "action", None),
            "kwargs": kwargs,
            "zone": timezone.get_current_timezone_name(),
        }
        return super().render(told, accepted_media_type, renderer_context)


class Csv(JSONRenderer):
    media_type = "text/csv"
    charset = "utf-8"
    format = "csv"

    def render(self, data, *args, **kwargs):
        return ";".join(data)


class View(AcceptMixin, APIView):
    permission_classes = (AllowAny,)
    renderer_classes = (Envelope, Csv)
    accept_task = answer

    def get_accept_input(self, request, validated):
        return {"kind": self.kwargs.get("kind")}


class Shown(View):
    renderer_classes = (BrowsableAPIRenderer, Envelope)


class Set(AcceptMixin, ViewSet):
    permission_classes = (AllowAny,)
    renderer_classes = (Envelope,)

    @accepts_task(answer)
    def create(self, request):
        return {"kind": "mapping"}


@api_view(["POST"])
@renderer_classes([Envelope])
@accepts_task(answer)
def function(request):
    return {"kind": "mapping"}


function.cls.permission_classes = (AllowAny,)

urlpatterns = [
    *format_suffix_patterns([path("v/<slug:kind>", View.as_view())]),
    path("shown/<str:kind>", Shown.as_view()),
    path("nothing/", View.as_view()),
    path("set/", Set.as_view({"post": "create"})),
    path("function/", function),
    path("", include(urls)),
]


def told(client, path, **headers):
    return follow(client, client.post(path, headers=headers), raises=False)


def test_the_renderer_is_the_views(client, settings):
    """Contract 13."""
    assert told(client, "/v/mapping?q=1").json() == {
        "payload": {"a_b": [1]},
        "status": 200,
        "user": "AnonymousUser",
        "query": {"q": "1"},
        "action": None,
        "kwargs": {"kind": "mapping"},
        "zone": settings.TIME_ZONE,
    }


@pytest.mark.parametrize("path", ["/set/", "/function/"])
def test_of_a_view_set_and_a_function_too(client, path):
    assert told(client, path).json()["payload"] == {"a_b": [1]}


@pytest.mark.parametrize(
    "wish", [("/v/mapping", {"accept": "text/csv"}), ("/v/mapping?format=csv", {}), ("/v/mapping.csv", {})]
)
def test_as_the_request_wanted_it(client, wish):
    path, headers = wish
    response = told(client, path, **headers)
    assert (response.content, response["Content-Type"]) == (b"a_b", "text/csv; charset=utf-8")


def test_a_response_keeps_its_status_headers_and_type(client):
    response = told(client, "/v/response")
    assert (response.status_code, response["X-Own"], response.json()["status"]) == (201, "yes", 201)
    assert told(client, "/v/hal")["Content-Type"] == "application/hal+json"


def test_false_values_are_values(client):
    assert told(client, "/v/zero").json()["payload"] == 0


def test_nothing_is_no_content(client):
    assert told(client, "/nothing/").status_code == 204


def test_a_refusal_has_the_views_format(client):
    response = told(client, "/v/refusal")
    assert (response.status_code, response.json()["payload"]) == (422, {"a_b": "no"})
    assert Job.objects.get().problem["errors"] == {"a_b": "no"}


def test_bytes_are_kept(client):
    response = told(client, "/v/csv", accept="application/json")
    assert (response.content, response["Content-Type"]) == (b"a;b", "text/csv; charset=iso-8859-1")


def test_a_template_is_rendered(client):
    response = told(client, "/v/page")
    assert (b"<svg" in response.content, response["Content-Type"]) == (True, "text/html; charset=utf-8")


@pytest.mark.parametrize("kind", ["nan", "object"])
def test_what_has_no_json_form_is_no_result(client, kind):
    response = told(client, f"/v/{kind}")
    assert (response.status_code, response.json()["code"]) == (409, "result-unencodable")


def test_a_renderer_that_fails_fails_the_job(client):
    """As it would have failed the request."""
    response = told(client, "/v/zero?format=csv")
    assert (response.status_code, response.json()["code"]) in [(409, "failed"), (409, "result-unencodable")]


def test_lazy_words_are_in_the_language_of_the_request(client):
    response = told(client, "/v/lazy", **{"accept-language": "de"})
    assert (response.json()["payload"], response["Content-Language"]) == ({"said": "Ja"}, "de")


def test_without_locale_middleware_nothing_claims_a_language(client, settings):
    settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "locale" not in each]
    assert "Content-Language" not in told(client, "/v/lazy")


def test_the_browsable_api_is_no_result(client):
    response = told(client, "/shown/mapping", accept="text/html")
    assert (response["Content-Type"], response.json()["payload"]) == ("application/json", {"a_b": [1]})


def test_a_route_that_is_gone_costs_the_renderer_only(client):
    """The work is done; what it has left must not be lost."""
    client.post("/v/mapping")
    with override_settings(ROOT_URLCONF=urls):
        run_accepted_jobs()
        job = Job.objects.get()
        assert client.get(f"/api/jobs/{job.pk}/result/").json() == {"a_b": [1]}
