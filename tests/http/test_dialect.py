"""What is ours speaks one dialect: ``RENDERER_CLASSES``, whatever the view's and the project's renderers are."""

import asyncio
import json

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient
from django.urls import include, path
from django.utils.translation import gettext
from rest_framework.decorators import api_view
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer, StaticHTMLRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from async_accept.decorators import accepts
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.testing import make_job, run_accepted_jobs
from tests import urls

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

OWN = "application/vnd.async-accept+json"
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class Shouting(JSONRenderer):
    """A project's own JSON: its keys are in capitals."""

    def render(self, data, *args, **kwargs):
        return super().render(shouted(data), *args, **kwargs)


def shouted(data):
    if isinstance(data, dict):
        return {key.upper(): shouted(value) for key, value in data.items()}
    return [shouted(item) for item in data] if isinstance(data, list) else data


class Enveloping(JSONRenderer):
    """Asks its view and its response, as many do."""

    def render(self, data, accepted_media_type=None, renderer_context=None):
        response, view = renderer_context["response"], renderer_context["view"]
        told = {"ok": response.status_code < 400, "view": type(view).__name__, "payload": data}
        return super().render(told, accepted_media_type, renderer_context)


class Lines(BaseRenderer):
    """Text of several lines, in which nothing may be lost."""

    media_type = "text/plain"
    format = "txt"

    def render(self, data, *args, **kwargs):
        return "\n".join(f"{key}: {value}" for key, value in data.items())


class Broken(BaseRenderer):
    media_type = "application/json"
    format = "json"

    def render(self, data, *args, **kwargs):
        raise KeyError("title")


class Silent(BrowsableAPIRenderer):
    """A project's own browsable API."""


class View(AcceptMixin, APIView):
    permission_classes = (AllowAny,)
    renderer_classes = (Broken,)

    def post(self, request):
        if request.data.get("wrong"):
            raise ValidationError({"x": [gettext("Yes")]})
        return Response({"a_b": gettext("Yes")})


class Enveloped(View):
    """Wraps whatever leaves it."""

    renderer_classes = (JSONRenderer,)

    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        if response.accepted_renderer.format == "json":
            response["X-Finalized"] = "yes"
        response.data = {"wrapped": response.data}
        return response


class Extended(View):
    """Adds a member for old clients."""

    renderer_classes = (JSONRenderer,)

    def finalize_response(self, request, response, *args, **kwargs):
        response.data = {**response.data, "task_id": response.data.get("id")}
        return super().finalize_response(request, response, *args, **kwargs)


class Static(View):
    renderer_classes = (StaticHTMLRenderer, Lines)

    def post(self, request):
        return Response("<h1>Done</h1>", status=201)


class Shown(View):
    renderer_classes = (BrowsableAPIRenderer, JSONRenderer)


class Browsable(View):
    renderer_classes = (Silent, Broken)


@api_view(["POST"])
@accepts()
def function(request):
    return Response({"a_b": 1})


function.cls.renderer_classes = (Broken,)
function.cls.permission_classes = (AllowAny,)

urlpatterns = [
    path("view/", View.as_view()),
    path("enveloped/", Enveloped.as_view()),
    path("extended/", Extended.as_view()),
    path("static/", Static.as_view()),
    path("shown/", Shown.as_view()),
    path("browsable/", Browsable.as_view()),
    path("function/", function),
    path("", include(urls)),
]


def spoken(settings, *renderers):
    settings.ASYNC_ACCEPT = {"RENDERER_CLASSES": renderers}


def url(job, end=""):
    return f"/api/jobs/{job.pk}/{end}"


# --- The 202 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["view", "enveloped", "static", "browsable", "function"])
@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html, */*;q=0.1"])
def test_no_renderer_of_a_view_keeps_a_202_from_the_client(client, place, accept):
    """Contract 0: the job is stored, so its URLs must arrive."""
    response = client.post(f"/{place}/", headers={"accept": accept} if accept else {})
    if response.status_code == 406:
        assert not Job.objects.exists()
        return
    assert response.status_code == 202
    assert response["Location"].endswith(url(Job.objects.get(), "result/"))
    if "html" in (accept or ""):
        assert "<async-job" in response.content.decode()
    else:
        assert response["Content-Type"] == "application/json"
        assert response.json()["status"] == "accepted"


def test_a_view_that_wraps_its_answers_wraps_no_202(client):
    response = client.post("/enveloped/")
    assert response.json()["status"] == "accepted"
    assert response["X-Finalized"] == "yes"


def test_a_view_may_add_to_a_202(client):
    """Any client has to expect further members."""
    document = client.post("/extended/").json()
    assert (document["task_id"], document["status"]) == (document["id"], "accepted")


def test_a_minimal_202_has_no_body(client):
    response = client.post("/view/", headers={"prefer": "return=minimal"})
    assert (response.status_code, response.content) == (202, b"")
    assert "Content-Type" not in response


def test_a_page_of_a_202_goes_on_as_the_jobs_own(client):
    """A reload of the page must not send the request again."""
    response = client.post("/static/", headers=BROWSER)
    assert (response.status_code, response["Content-Type"]) == (202, "text/html; charset=utf-8")
    assert response["Refresh"].endswith(f"; url={response['Operation-Location']}")


def test_renderers_of_the_setting_that_fail_fail_no_202(client, settings, caplog):
    spoken(settings, Broken)
    response = client.post("/view/")
    assert (response.status_code, response["Content-Type"]) == (202, "application/json")
    assert response.json()["status"] == "accepted"
    assert "KeyError: 'title'" in caplog.text


def test_a_format_that_is_the_views_is_none_of_ours(client):
    response = client.post("/static/?format=txt")
    assert response.status_code == 202
    assert response.json()["status"] == "accepted"


# --- RENDERER_CLASSES ------------------------------------------------------------------------------------


def test_all_that_is_ours_speaks_the_projects_dialect(client, settings):
    """Contract 0: the 202, the monitor, the list, problems."""
    spoken(settings, Shouting)
    accepted = client.post("/view/").json()
    job = Job.objects.get()
    assert accepted["STATUS"] == client.get(url(job)).json()["STATUS"] == "accepted"
    assert client.get(url(job, "result/")).json()["STATUS"] == "accepted"
    missing = client.get("/api/jobs/nothing/")
    assert (missing["Content-Type"], missing.json()["STATUS"]) == ("application/problem+json", 401)
    assert client.post(url(job, "rerun/")).json()["CODE"] == "not-ended"
    assert client.post(url(job, "cancel/")).json()["STATUS"] == "canceled"
    client.force_login(User.objects.create(username="alice"))
    assert client.get("/api/jobs/").json() == {"NEXT": None, "PREVIOUS": None, "RESULTS": []}


@pytest.mark.parametrize(
    "wish", [{"headers": {"accept": OWN}}, {"query_params": {"dialect": "async-accept"}}]
)
def test_our_own_dialect_is_always_understood(client, settings, wish):
    spoken(settings, Shouting)
    job = make_job()
    monitor = client.get(url(job), **wish)
    assert (monitor["Content-Type"], monitor.json()["status"]) == (OWN, "accepted")
    assert client.get(url(job, "result/"), **wish).json()["status"] == "accepted"
    missing = client.get("/api/jobs/nothing/", **wish)
    assert (missing["Content-Type"], missing.json()["status"]) == ("application/problem+json", 401)
    assert client.get(url(job)).headers["ETag"] != monitor.headers["ETag"]


def test_a_202_is_told_in_our_own_dialect(client, settings):
    spoken(settings, Shouting)
    response = client.post("/enveloped/", headers={"accept": f"{OWN}, application/json;q=0.5"})
    assert (response["Content-Type"], response.json()["status"]) == (OWN, "accepted")


def test_the_page_is_there_whatever_is_set(client, settings):
    spoken(settings, Shouting)
    job = make_job(state="failed")
    page = client.get(url(job), headers=BROWSER)
    assert page["Content-Type"].startswith("text/html")
    assert 'data-state="failed"' in page.content.decode()
    assert client.get("/api/jobs/nothing/", headers=BROWSER)["Content-Type"].startswith("text/html")


def test_without_any_json_the_first_one_is_the_default(client, settings):
    spoken(settings, Lines, BrowsableAPIRenderer)
    response = client.get(url(make_job()))
    assert response["Content-Type"].startswith("text/plain")
    assert "status: accepted" in response.content.decode()
    assert client.get("/api/jobs/nothing/")["Content-Type"].startswith("text/plain")


def test_options_tell_what_there_is(client, settings):
    spoken(settings, f"{__name__}.Shouting")
    renders = client.options(url(make_job())).json()["RENDERS"]
    assert renders == ["application/json", OWN]


def test_a_change_of_the_setting_changes_the_tag(client, settings):
    """A client that has the other document must not be told that nothing has changed."""
    job = make_job()
    tags = set()
    for renderer in (JSONRenderer, Shouting, Enveloping):
        spoken(settings, renderer)
        tags.add(client.get(url(job)).headers["ETag"])
    assert len(tags) == 3


# --- Events ----------------------------------------------------------------------------------------------


def events(job, **wish):
    async def read():
        response = await AsyncClient().get(url(job, "events/"), **wish)
        assert response.streaming, response.content
        return response, b"".join([part async for part in response.streaming_content]).decode()

    return asyncio.run(read())


@pytest.mark.parametrize("renderers", [[Shouting], [Enveloping], [JSONRenderer]])
def test_events_speak_the_dialect_of_polls(client, settings, renderers):
    spoken(settings, *renderers)
    job = make_job(state="succeeded")
    _, text = events(job)
    [line] = [line for line in text.splitlines() if line.startswith("data: ")]
    assert json.loads(line.removeprefix("data: ")) == client.get(url(job)).json()


@pytest.mark.parametrize(
    "wish",
    [{"query_params": {"dialect": "async-accept"}}, {"headers": {"accept": f"text/event-stream, {OWN}"}}],
)
def test_events_speak_our_own_dialect_if_asked(settings, wish):
    spoken(settings, Shouting)
    _, text = events(make_job(state="succeeded"), **wish)
    assert '"status":"succeeded"' in text


def test_an_event_of_several_lines_is_one_event(client, settings):
    spoken(settings, Lines)
    job = make_job(state="succeeded")
    _, text = events(job)
    event = text.split("\n\n")[1].splitlines()
    told = [line.removeprefix("data: ") for line in event if line.startswith("data: ")]
    assert "\n".join(told) == client.get(url(job)).content.decode()


def test_nothing_compresses_events():
    response, _ = events(make_job(state="succeeded"), headers={"accept-encoding": "gzip"})
    assert response["Content-Encoding"] == "identity"


async def _problem(path):
    return await AsyncClient().get(path)


def test_a_problem_of_events_speaks_the_dialect_too(settings):
    spoken(settings, Shouting)
    problem = asyncio.run(_problem("/api/jobs/nothing/events/"))
    assert (problem["Content-Type"], problem.json()["STATUS"]) == ("application/problem+json", 401)


# --- Languages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/jobs/nothing/", "/api/jobs/?status=x", "/api/jobs/nothing/?format=x"])
@pytest.mark.parametrize("accept", ["application/json", "text/csv", OWN])
def test_problems_are_in_one_language(client, path, accept):
    """Contract 15: and say which."""
    client.force_login(User.objects.create(username="alice"))
    answers = [
        client.get(path, headers={"accept": accept, "accept-language": language}) for language in ("de", "ja")
    ]
    assert answers[0].content == answers[1].content
    assert [answer["Content-Language"] for answer in answers] == ["en", "en"]


def test_a_page_is_in_the_readers_language(client):
    page = client.get("/api/jobs/nothing/", headers={**BROWSER, "accept-language": "de"})
    assert page["Content-Language"] == "de"
    assert '<html lang="de"' in page.content.decode()


def test_a_problem_that_a_task_has_worded_claims_no_language_of_ours(client):
    from async_accept.problems import problem

    own, ours = problem("sold-out", "Ausverkauft."), problem("lost")
    told = [
        client.get(
            url(make_job(state="failed", problem=document), "result/"), headers={"accept-language": "de"}
        )
        for document in (own, ours)
    ]
    assert [answer["Content-Language"] for answer in told] == ["de", "en"]


# --- The result ------------------------------------------------------------------------------------------


def settled(client, path, data=None, **headers):
    accepted = client.post(path, data or {}, content_type="application/json", headers=headers)
    run_accepted_jobs()
    return accepted["Location"]


def test_a_browser_gets_the_page_around_json(client):
    result = settled(client, "/enveloped/")
    page = client.get(result, headers=BROWSER)
    assert page["Content-Type"].startswith("text/html")
    assert "wrapped" in page.content.decode()
    assert client.get(result, headers={"accept": "text/html;q=0.5, */*"}).json() == {
        "wrapped": {"a_b": "Yes"}
    }


def test_a_browser_gets_the_page_around_an_error_as_well(client):
    result = settled(client, "/enveloped/", {"wrong": True})
    page = client.get(result, headers=BROWSER)
    assert (page.status_code, page["Content-Type"].partition(";")[0]) == (400, "text/html")
    assert client.get(result).json() == {"wrapped": {"x": ["Yes"]}}


def test_a_browser_gets_bytes_as_they_are(client):
    page = client.get(settled(client, "/static/"), headers=BROWSER)
    assert (page.status_code, page.content) == (201, b"<h1>Done</h1>")


def test_a_browser_gets_json_where_there_is_no_page(client, settings):
    spoken(settings, JSONRenderer)
    assert client.get(settled(client, "/enveloped/"), headers=BROWSER).json() == {"wrapped": {"a_b": "Yes"}}


def test_the_setting_does_not_change_what_a_view_has_answered(client, settings):
    spoken(settings, Shouting)
    assert client.get(settled(client, "/enveloped/")).json() == {"wrapped": {"a_b": "Yes"}}


def test_a_result_has_the_language_of_its_request(client):
    german = client.get(
        settled(client, "/enveloped/", **{"accept-language": "de"}), headers={"accept-language": "fr"}
    )
    assert (german["Content-Language"], german.json()) == ("de", {"wrapped": {"a_b": "Ja"}})


def test_what_was_asked_by_a_page_is_kept_as_json(client):
    """The page of the browsable API is for its one reader."""
    result = settled(client, "/shown/", **BROWSER)
    assert client.get(result)["Content-Type"] == "application/json"
    assert client.get(result, headers=BROWSER)["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("wish", ["text/csv", "application/xml;q=0.1", "*/*;q=0"])
def test_a_result_goes_to_every_reader(client, wish):
    """Contract 13: RFC 9110, section 12.5.1."""
    response = client.get(settled(client, "/enveloped/"), headers={"accept": wish})
    assert (response.status_code, response.json()) == (200, {"wrapped": {"a_b": "Yes"}})
