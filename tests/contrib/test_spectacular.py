"""Accepting operations in the schema of drf-spectacular, without a hook of the project."""

import re
from typing import TypedDict

import pytest
from celery import shared_task
from django.urls import include, path
from rest_framework import generics, viewsets
from rest_framework.decorators import action, api_view
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from async_accept.decorators import accepts, accepts_task
from async_accept.exceptions import IdempotencyKeyInvalid
from async_accept.jobs.keys import parse_key
from async_accept.mixins import AcceptCreateMixin, AcceptMixin, AcceptModelMixin
from async_accept.tasks import JobTask
from tests.testapp.models import Note
from tests.testapp.serializers import NoteSerializer, SumSerializer

from .schemas import JOBS, operation, parameters, schema_of

spectacular = pytest.importorskip("drf_spectacular", reason="needs drf-spectacular (extra: openapi)")
from drf_spectacular.extensions import OpenApiViewExtension  # noqa: E402
from drf_spectacular.openapi import AutoSchema  # noqa: E402
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view  # noqa: E402


class Total(TypedDict):
    total: int


@shared_task(base=JobTask)
def total(x: int, y: int) -> Total:
    return {"total": x + y}


@shared_task(base=JobTask)
def quiet(x: int, y: int) -> None:
    pass


@shared_task(base=JobTask)
def unsure(x, y):
    return x


class NoteView(AcceptCreateMixin, generics.ListCreateAPIView):
    queryset = Note.objects.all()
    serializer_class = NoteSerializer


class SumView(AcceptMixin, APIView):
    """Add two numbers."""

    serializer_class = SumSerializer
    accept_task = total


class NoteViewSet(AcceptModelMixin, viewsets.ModelViewSet):
    queryset = Note.objects.all()
    serializer_class = NoteSerializer

    @action(detail=True, methods=["post"])
    @accepts()
    def shout(self, request, pk):
        return Response()

    @action(detail=False, methods=["post"], serializer_class=SumSerializer)
    @accepts_task(total)
    def total(self, request):
        return {}


@api_view(["GET", "POST"])
@accepts(serializer_class=SumSerializer)
def below(request):
    return Response()


@accepts(serializer_class=SumSerializer)
@api_view(["POST"])
def above(request):
    return Response()


router = SimpleRouter()
router.register("notes", NoteViewSet)
WAYS = schema_of(
    path("created/", NoteView.as_view()),
    path("sums/", SumView.as_view()),
    path("below/", below),
    path("above/", above),
    path("", include(router.urls)),
    JOBS,
)["paths"]


def view(base=SumView, **members):
    return type("ItView", (base,), members).as_view()


# --- The 202 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "method"),
    [
        ("/created/", "post"),
        ("/sums/", "post"),
        ("/below/", "post"),
        ("/above/", "post"),
        ("/notes/", "post"),
        ("/notes/{id}/", "put"),
        ("/notes/{id}/", "patch"),
        ("/notes/{id}/", "delete"),
        ("/notes/{id}/shout/", "post"),
        ("/notes/total/", "post"),
    ],
)
def test_every_way_to_accept_shows_the_202(url, method):
    answer = WAYS[url][method]["responses"]["202"]
    document = answer["content"]["application/json"]["schema"]
    assert document == {"$ref": "#/components/schemas/AcceptedJob"}
    required = {name for name, header in answer["headers"].items() if header.get("required")}
    assert required == {"Location", "Operation-Location", "Content-Location", "Link", "Retry-After"}
    assert {"Prefer", "Idempotency-Key"} <= set(parameters(WAYS[url][method]))


@pytest.mark.parametrize("url", ["/created/", "/notes/", "/notes/{id}/", "/below/"])
def test_what_changes_nothing_stays_as_it_is(url):
    assert set(WAYS[url]["get"]["responses"]) == {"200"}
    assert not {"Prefer", "Idempotency-Key"} & set(parameters(WAYS[url]["get"]))


def test_a_view_that_never_accepts_stays_as_it_is():
    assert set(operation(view(NoteView, accept_mode="never"))["responses"]) == {"201"}


@pytest.mark.parametrize("names", [{}, {"CAMELIZE_NAMES": True}])
def test_links_lead_to_operations_of_the_schema(names):
    paths = schema_of(path("sums/", SumView.as_view()), JOBS, **names)["paths"]
    links = paths["/sums/"]["post"]["responses"]["202"]["links"]
    there = {each["operationId"] for item in paths.values() for each in item.values()}
    assert set(links) == {"status", "result", "cancel", "events"}
    assert {link["operationId"] for link in links.values()} <= there
    assert all(link["parameters"] == {"id": "$response.body#/id"} for link in links.values())


def test_without_the_endpoints_of_jobs_no_link_dangles():
    found = schema_of(path("it/", SumView.as_view()))
    assert found["paths"]["/it/"]["post"]["responses"]["202"]["links"] == {}


def test_a_mixin_does_not_describe_the_view():
    assert "description" not in operation(NoteView.as_view())
    assert operation(SumView.as_view())["description"] == "Add two numbers."
    plain = type(
        "Plain", (generics.ListCreateAPIView,), {"__doc__": "Notes.", "serializer_class": NoteSerializer}
    )
    mixed = type("ItView", (AcceptCreateMixin, plain), {})
    assert operation(mixed.as_view())["description"] == "Notes."


# --- The answer at once, and the result -------------------------------------------------------------------------


def test_the_answer_at_once_is_there_if_the_client_can_wait(settings):
    assert "201" in operation(NoteView.as_view())["responses"]
    settings.ASYNC_ACCEPT = {"MAX_WAIT_SECONDS": 0}
    found = operation(NoteView.as_view())
    assert not {"201", "409"} & set(found["responses"])
    assert "wait" not in parameters(found)["Prefer"]["description"]


@pytest.mark.parametrize("mode", ["prefer", lambda self, request: "always"])
def test_the_answer_at_once_is_there_if_the_mode_allows_it(settings, mode):
    settings.ASYNC_ACCEPT = {"MAX_WAIT_SECONDS": 0}
    found = operation(view(NoteView, accept_mode=mode))
    assert "201" in found["responses"]
    assert "respond-async" in parameters(found)["Prefer"]["description"]


def test_nobody_waits_in_a_transaction_of_django(settings, monkeypatch):
    from django.db import connection

    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert "200" not in operation(below)["responses"]
    assert "200" in operation(above)["responses"]


def test_the_result_url_answers_what_any_operation_answers():
    """Whether it is described before or after the operations."""
    after, before = path("a/", NoteView.as_view()), path("z/", SumView.as_view())
    found = schema_of(after, before, JOBS)
    answers = found["paths"]["/jobs/{id}/result/"]["get"]["responses"]
    assert answers["201"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Note"}
    assert answers["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/SumCreateResult"
    }


def test_results_of_one_status_are_alternatives():
    class TotalView(NoteView):
        serializer_class = SumSerializer

    found = schema_of(path("a/", NoteView.as_view()), path("b/", TotalView.as_view()), JOBS)
    answer = found["paths"]["/jobs/{id}/result/"]["get"]["responses"]["201"]
    refs = [{"$ref": "#/components/schemas/Note"}, {"$ref": "#/components/schemas/Sum"}]
    assert answer["content"]["application/json"]["schema"] == {"anyOf": refs}


@pytest.mark.parametrize(("task", "codes"), [(total, {"200"}), (quiet, {"204"}), (unsure, {"200", "204"})])
def test_the_result_of_a_task_has_the_type_that_it_returns(task, codes):
    responses = operation(view(accept_task=task))["responses"]
    assert {code for code in responses if code.startswith("2")} - {"202"} == codes
    if task is total:
        found = schema_of(path("it/", view()), JOBS)["components"]["schemas"]["ItCreateResult"]
        assert found["properties"] == {"total": {"type": "integer"}}


# --- Key and refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "required"), [("required", True), ("optional", False), ("ignored", None)])
def test_the_key_is_as_the_view_wants_it(policy, required):
    found = operation(view(accept_idempotency=policy))
    key = parameters(found).get("Idempotency-Key")
    assert (key and key.get("required", False)) == required
    assert ("422" in found["responses"]) == (policy != "ignored")


@pytest.mark.parametrize(
    "key", ["k", '"k"', '"a,b"', "a,b", 'a"b', '"a', "a b", "", "\x7f", "é", '"a\\b"', "k" * 255]
)
def test_a_key_of_the_pattern_is_accepted(key):
    schema = parameters(operation(SumView.as_view()))["Idempotency-Key"]["schema"]
    if re.search(schema["pattern"], key) and len(key) <= schema["maxLength"]:
        assert parse_key(key)
    elif key != '"a\\b"':  # more than the pattern says
        with pytest.raises(IdempotencyKeyInvalid):
            parse_key(key)


class Tagged:
    def get_accept_etag(self, instance):
        return '"1"'


@pytest.mark.parametrize(
    ("code", "members"),
    [
        ("409", {"accept_active_key": lambda self, request, data: "k", "accept_when_active": "refuse"}),
        ("429", {"accept_max_active": 1}),
        ("429", {"accept_max_active_per_owner": 1}),
        ("429", {"throttle_classes": [type("T", (UserRateThrottle,), {"rate": "1/s"})]}),
    ],
)
def test_a_refusal_is_there_if_the_view_can_give_it(settings, code, members):
    settings.ASYNC_ACCEPT = {"MAX_WAIT_SECONDS": 0}
    assert code not in operation(view())["responses"]
    answer = operation(view(**members))["responses"][code]
    assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/AcceptError"}
    assert ("Retry-After" in answer.get("headers", {})) == (code == "429")


def test_if_match_is_there_if_the_view_has_tags():
    urls = SimpleRouter()
    urls.register("notes", type("TaggedViewSet", (Tagged, NoteViewSet), {}), basename="note")
    found = schema_of(path("", include(urls.urls)), JOBS)["paths"]
    assert "412" in found["/notes/{id}/"]["put"]["responses"]
    assert "If-Match" in parameters(found["/notes/{id}/"]["delete"])
    assert "412" not in found["/notes/"]["post"]["responses"]
    assert "412" not in WAYS["/notes/{id}/"]["put"]["responses"]


def test_refusals_have_the_format_of_the_project(settings):
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "EXCEPTION_HANDLER": "tests.contrib.test_spectacular.handler",
    }
    found = operation(view())["responses"]
    assert found["422"]["content"] == {"application/json": {"schema": {}}}
    problem = {"$ref": "#/components/schemas/AcceptedJobProblem"}
    assert (
        found["409"]["content"]["application/problem+json"]["schema"] == problem
    )  # of the job, if the client waits


def handler(exc, context):
    return None


# --- What the project says ---------------------------------------------------------------------------------------


def test_extend_schema_wins():
    said_response = OpenApiResponse(description="Ours.")
    said = extend_schema(
        operation_id="mine",
        parameters=[OpenApiParameter("Prefer", str, "header", description="Ours.")],
        responses={201: NoteSerializer, 202: said_response, 418: said_response},
    )
    found = operation(extend_schema_view(post=said)(type("ItView", (SumView,), {})).as_view())
    assert found["operationId"] == "mine"
    assert parameters(found)["Prefer"]["description"] == "Ours."
    assert found["responses"]["202"] == {"description": "Ours."}
    assert found["responses"]["201"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Note"
    }
    assert {"418", "503"} <= set(found["responses"])
    assert "200" not in found["responses"]


def test_what_extend_schema_says_of_one_task_view_is_not_of_others():
    extend_schema_view(post=extend_schema(summary="Ours."))(
        type("ItView", (SumView,), {"accept_task": quiet})
    )
    other = type("Other", (AcceptMixin, APIView), {"accept_task": quiet, "serializer_class": SumSerializer})
    extend_schema_view(post=extend_schema(summary="Ours."))(other)
    assert "summary" not in operation(SumView.as_view())


def test_what_extend_schema_says_is_a_result_also_if_nobody_can_wait(settings):
    settings.ASYNC_ACCEPT = {"MAX_WAIT_SECONDS": 0}
    said = extend_schema_view(post=extend_schema(responses=NoteSerializer))(type("ItView", (SumView,), {}))
    found = schema_of(path("it/", said.as_view()), JOBS)["paths"]
    assert "200" not in found["/it/"]["post"]["responses"]
    result = found["/jobs/{id}/result/"]["get"]["responses"]["200"]["content"]
    assert result["application/json"]["schema"] == {"$ref": "#/components/schemas/Note"}


def test_the_schema_class_of_the_view_stays_in_force():
    class Own(AutoSchema):
        def get_tags(self):
            return ["own"]

    found = operation(view(schema=Own()))
    assert found["tags"] == ["own"]
    assert "202" in found["responses"]


def test_an_extension_of_the_project_composes(monkeypatch):
    monkeypatch.setattr(OpenApiViewExtension, "_registry", [*OpenApiViewExtension._registry])

    class Mended(OpenApiViewExtension):
        target_class = SumView

        def view_replacement(self):
            class Fixed(self.target):
                @extend_schema(summary="Mended")
                def post(self, request):
                    pass

            return Fixed

    found = operation(SumView.as_view())
    assert found["summary"] == "Mended"
    assert "202" in found["responses"]


def test_the_names_of_the_project_stay_free():
    """Its own components, and the enums of fields with a name that the status document has, too."""
    from rest_framework import serializers

    class JobSerializer(serializers.Serializer):
        status = serializers.ChoiceField(["open", "closed"])

    found = schema_of(path("it/", view(NoteView, serializer_class=JobSerializer)), JOBS)["components"][
        "schemas"
    ]
    assert found["StatusEnum"]["enum"] == ["open", "closed"]
    assert list(found["Job"]["properties"]) == ["status"]
