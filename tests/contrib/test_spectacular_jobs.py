"""The endpoints of jobs, receivers and webhooks in the schema of drf-spectacular."""

import re
from typing import Any

import pytest
from django.urls import include, path
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

from async_accept.http.filters import FILTERS
from async_accept.http.views import JobViewSet
from async_accept.testing import make_job
from async_accept.urls import job_urls
from async_accept.webhooks.callbacks import COLUMNS
from async_accept.webhooks.models import Endpoint
from tests.testapp import receivers

from .schemas import JOBS, operation, parameters, schema_of
from .test_spectacular import NoteView

spectacular = pytest.importorskip("drf_spectacular", reason="needs drf-spectacular (extra: openapi)")
from drf_spectacular.utils import extend_schema, extend_schema_view  # noqa: E402

ALL = schema_of(JOBS, path("notes/", NoteView.as_view()), OAS_VERSION="3.1.0")
WEBHOOKS = path("webhooks/", include("async_accept.webhooks.urls"))


def ids(schema: dict[str, Any]) -> list[str]:
    return [each["operationId"] for item in schema["paths"].values() for each in item.values()]


def errors(schema: dict[str, Any], part: Any, document: Any) -> list[str]:
    """Return how *document* differs from *part* of *schema*, where no member is there that it does not name."""
    found = Draft202012Validator({**part, "components": schema["components"]}, format_checker=FormatChecker())
    return [error.message for error in found.iter_errors(document)]


def answer(
    schema: dict[str, Any], url: str, method: str, code: int, media_type: str = "application/json"
) -> Any:
    return schema["paths"][url][method]["responses"][str(code)]["content"][media_type]["schema"]


# --- Operations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["jobs/", "api/v1/background/"])
def test_operation_ids_do_not_depend_on_the_place(place):
    found = schema_of(path(place, include("async_accept.urls")), path("notes/", NoteView.as_view()))
    actions = {"list", "retrieve", "destroy", "result", "cancel", "rerun", "events"}
    assert {f"accepted_jobs_{action}" for action in actions} <= set(ids(found))


def test_of_two_mounts_the_first_has_the_fixed_ids():
    found = schema_of(path("a/", include("async_accept.urls")), path("b/", include("async_accept.urls")))
    assert len(ids(found)) == len(set(ids(found))) == 14
    assert found["paths"]["/a/{id}/result/"]["get"]["operationId"] == "accepted_jobs_result"


def test_extend_schema_view_reaches_every_action_of_a_subclass():
    actions = ("list", "retrieve", "destroy", "result", "cancel", "rerun", "events")
    said = extend_schema_view(**{action: extend_schema(summary=f"Ours: {action}") for action in actions})
    own = said(type("TeamJobViewSet", (JobViewSet,), {}))
    found = schema_of(path("jobs/", include(job_urls(own))))["paths"]
    assert {each["summary"] for item in found.values() for each in item.values()} == {
        f"Ours: {a}" for a in actions
    }


@pytest.mark.parametrize("kind", ["built in", "django-filter"])
def test_the_list_has_its_filters(monkeypatch, kind):
    for name in ("filter_backends", "filterset_class"):
        monkeypatch.setattr(JobViewSet, name, getattr(JobViewSet, name, None), raising=False)
    if kind == "django-filter":
        pytest.importorskip("django_filters", reason="needs django-filter (extra: filters)")
        from async_accept.contrib.django_filters import connect

        connect()
    found = parameters(schema_of(JOBS)["paths"]["/jobs/"]["get"])
    assert set(FILTERS) | {"cursor", "page_size"} == set(found)
    assert found["created_after"]["schema"] == {"type": "string", "format": "date-time"}
    assert (found["status"]["schema"]["type"], found["status"]["explode"]) == ("array", False)


def test_errors_of_the_endpoints_are_problems():
    refused = [
        (url, code, response["content"])
        for url, item in schema_of(JOBS)["paths"].items()
        for each in item.values()
        for code, response in each["responses"].items()
        if code[0] in "45"
    ]
    assert len(refused) > 30
    assert all("application/problem+json" in content for _, _, content in refused)
    alone = [content for url, _, content in refused if not url.endswith("/result/")]
    assert all(set(content) == {"application/problem+json"} for content in alone)


def test_a_failed_result_has_one_type_for_all_statuses_and_media_types():
    """Orval declares types twice, or none, if one status has two, or if 4XX is the only one of its type."""
    found = schema_of(JOBS)["paths"]["/jobs/{id}/result/"]["get"]["responses"]
    refs = {
        each["schema"]["$ref"]
        for code in ("400", "403", "404", "409", "412", "422", "4XX")
        for each in found[code]["content"].values()
    }
    assert refs == {"#/components/schemas/AcceptedJobFailure"}


def test_the_preferences_end_with_the_setting(settings):
    settings.ASYNC_ACCEPT = {"MAX_WAIT_SECONDS": 0}
    found = schema_of(JOBS)["paths"]
    assert "wait" not in parameters(found["/jobs/{id}/"]["get"])


def test_it_is_valid_in_3_1():
    """In 3.0 the shop's test shows it."""
    validate(ALL)


# --- What is answered is what is told -----------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["accepted", "running", "succeeded", "failed", "canceled"])
def test_the_status_document_is_as_told(alice, alices, state):
    job = make_job("tests.testapp.tasks.add", state=state, owner=alice)
    part = answer(ALL, "/jobs/{id}/", "get", 200)
    document = alices.get(f"/api/jobs/{job.pk}/").json()
    assert errors(ALL, part, document) == []
    assert set(document) == set(ALL["components"]["schemas"]["AcceptedJob"]["properties"])


@pytest.mark.django_db
def test_the_list_and_the_problems_are_as_told(alice, alices):
    make_job("tests.testapp.tasks.add", owner=alice)
    assert errors(ALL, answer(ALL, "/jobs/", "get", 200), alices.get("/api/jobs/").json()) == []
    for url, path_, code in (
        ("/jobs/{id}/", "/api/jobs/none/", 404),
        ("/jobs/", "/api/jobs/?status=none", 400),
    ):
        response = alices.get(path_)
        assert response.status_code == code
        part = answer(ALL, url, "get", code, "application/problem+json")
        assert errors(ALL, part, response.json()) == []


@pytest.mark.django_db
def test_the_202_is_as_told(alices):
    response = alices.post("/api/created-notes/", {"slug": "a", "title": "A"})
    told = ALL["paths"]["/notes/"]["post"]["responses"]["202"]
    assert errors(ALL, told["content"]["application/json"]["schema"], response.json()) == []
    for name, header in told["headers"].items():
        assert not header.get("required") or name in response.headers


# --- Receivers -----------------------------------------------------------------------------------------------------


def test_a_receiver_is_an_accepting_operation():
    found = operation(receivers.Standard.as_view())
    assert {"202", "401", "413", "503"} <= set(found["responses"])
    assert parameters(found)["Webhook-Signature"]["required"]
    assert "security" not in found


def test_a_receiver_asks_for_what_its_sender_sends():
    graph = operation(receivers.Graph.as_view())
    assert [each["name"] for each in graph.get("parameters", [])] == []  # its secret is in the body
    assert list(operation(receivers.Twilio.as_view())["requestBody"]["content"]) == [
        "application/x-www-form-urlencoded"
    ]


def test_a_receiver_can_be_left_out():
    own = extend_schema(exclude=True)(type("Hidden", (receivers.Standard,), {}))
    assert schema_of(path("it/", own.as_view()))["paths"] == {}


# --- Webhooks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allow_http", [False, True])
def test_the_url_of_an_endpoint_is_told_as_it_is_checked(settings, allow_http):
    settings.ASYNC_ACCEPT = {"WEBHOOK_ALLOW_HTTP": allow_http}
    told = schema_of(WEBHOOKS)["components"]["schemas"]["Endpoint"]["properties"]["url"]
    assert re.search(told["pattern"], "https://example.com/hook?a=1")
    assert bool(re.search(told["pattern"], "http://example.com/hook")) is allow_http
    assert not any(
        re.search(told["pattern"], url) for url in ("ftp://a", "https://", "https://a\\b", "https://ä")
    )


@pytest.mark.parametrize(
    ("version", "names"),
    [("3.0.3", set()), ("3.1.0", {"job.succeeded", "job.failed", "job.canceled", "ping"})],
)
def test_webhooks_are_there_if_the_version_has_them(version, names):
    found = schema_of(JOBS, OAS_VERSION=version)
    assert set(found.get("webhooks", {})) == names
    assert ("AcceptedJobNotice" in found["components"]["schemas"]) == bool(names)


def test_callbacks_are_there_if_the_view_allows_them():
    assert "callbacks" not in operation(NoteView.as_view())
    found = operation(type("ItView", (NoteView,), {"accept_callbacks": True}).as_view())
    urls = {url for each in found["callbacks"].values() for url in each}
    assert urls == {f"{{$request.body#/subscriber/{member}}}" for member in COLUMNS}
    body = found["requestBody"]["content"]["application/json"]["schema"]
    assert {"$ref": "#/components/schemas/AcceptedJobSubscriber"} in body["allOf"]


@pytest.mark.django_db
def test_the_endpoints_of_webhooks_are_as_told(alice, alices):
    found = schema_of(WEBHOOKS, OAS_VERSION="3.1.0")
    endpoint = Endpoint.objects.create(owner=alice, url="https://shop.example/")
    url = f"/api/webhooks/{endpoint.pk}/"
    one, many = "/webhooks/{id}/", "/webhooks/"
    for told, path_, method in (
        (one, url, "get"),
        (many, "/api/webhooks/", "get"),
        (f"{one}rotate/", f"{url}rotate/", "post"),
        (f"{one}ping/", f"{url}ping/", "post"),
        (f"{one}deliveries/", f"{url}deliveries/", "get"),
        (f"{one}resend/", f"{url}resend/", "post"),
    ):
        response = getattr(alices, method)(path_)
        assert errors(found, answer(found, told, method, response.status_code), response.json()) == []
