"""What a task answers for a view that adds nothing is the same whether the view is made for it or not."""

from contextvars import ContextVar
from functools import wraps

import pytest
from django.urls import include, path
from django.utils.decorators import method_decorator
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.urlpatterns import format_suffix_patterns
from rest_framework.versioning import AcceptHeaderVersioning
from rest_framework.views import APIView

from async_accept.jobs import finalizing
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.testing import follow, run_accepted_jobs
from tests import urls

from .test_answers import VALUES, Csv, Envelope, answer

#: A context variable of the project.
tenant = ContextVar("tenant", default="public")


def called_back():
    response = Response({"a_b": 1})

    def note(rendered):
        rendered["X-View"] = type(rendered.renderer_context["view"]).__name__

    response.add_post_render_callback(note)
    return response


VALUES["called-back"] = called_back

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class Plain(AcceptMixin, APIView):
    permission_classes = (AllowAny,)
    renderer_classes = (JSONRenderer, Csv)
    accept_task = answer

    def get_accept_input(self, request, validated):
        return {"kind": self.kwargs["kind"]}


class Heading:
    """Adds a header that differs for each request."""

    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        response["X-Query"] = request.META["HTTP_USER_AGENT"]
        return response


class Based(Heading, APIView):
    """A base class of a project."""

    permission_classes = (AllowAny,)
    renderer_classes = (JSONRenderer, Csv)


class Behind(AcceptMixin, Based):
    """The mixin stands first, as it should."""

    accept_task = answer
    get_accept_input = Plain.get_accept_input


@method_decorator(lambda method: method, name="finalize_response")
class Decorated(Plain):
    """Its method has another package's code around it."""


class Valued(Plain):
    default_response_headers = {"X-Value": "yes"}


class Headed(Heading, Plain):
    """The project's class stands first."""


class Enveloped(Plain):
    renderer_classes = (Envelope,)


class Choosing(Plain):
    class content_negotiation_class(DefaultContentNegotiation):  # noqa: N801 the name is REST framework's
        def select_renderer(self, request, renderers, format_suffix=None):
            return renderers[-1 if request.META["HTTP_USER_AGENT"] == "csv" else 0], "*/*"


class Changing(Plain):
    @property
    def renderer_classes(self):
        return [Csv if self.request.META["HTTP_USER_AGENT"] == "csv" else JSONRenderer]


class Versioned(Plain):
    versioning_class = AcceptHeaderVersioning


OWN = {
    "behind": Behind,
    "decorated": Decorated,
    "valued": Valued,
    "headed": Headed,
    "enveloped": Enveloped,
    "choosing": Choosing,
    "changing": Changing,
    "versioned": Versioned,
}

urlpatterns = [
    *format_suffix_patterns([path("plain/<slug:kind>", Plain.as_view())]),
    *[path(f"{name}/<slug:kind>", view.as_view()) for name, view in OWN.items()],
    path("given/<slug:kind>", Plain.as_view(get_renderers=lambda: [JSONRenderer()])),
    path("", include(urls)),
]


@pytest.fixture(autouse=True)
def _forget_views():
    finalizing._plain_json.clear()
    finalizing._adds_nothing.cache_clear()


@pytest.fixture
def made(monkeypatch):
    """The views that are made to finalize an answer."""
    made = []
    prepare = finalizing.prepare

    def note(job, match, *args):
        made.append(match.func.cls)
        return prepare(job, match, *args)

    monkeypatch.setattr(finalizing, "prepare", note)
    return made


def told(client, path, **headers):
    response = follow(client, client.post(path, headers=headers), raises=False)
    return response.status_code, response.content, dict(response.headers)


def comparable(told):
    """Leave out what differs for each job: its URL, and when it ended."""
    status, content, headers = told
    own = ("Operation-Location", "Sunset")
    return status, content, {name: value for name, value in headers.items() if name not in own}


@pytest.mark.parametrize("kind", ["mapping", "list", "zero", "response", "hal", "lazy"])
@pytest.mark.parametrize("accept", ["*/*", "application/json; indent=4", "text/html, application/*"])
def test_the_second_answer_is_as_the_first(client, made, kind, accept):
    answers = [comparable(told(client, f"/plain/{kind}", accept=accept)) for _ in range(2)]
    assert answers[0] == answers[1]
    assert made == [Plain]
    assert (b"    " in answers[1][1]) == ("indent" in accept and kind not in ("zero",))


@pytest.mark.parametrize("kind", ["refusal", "nan", "object"])
def test_what_is_no_success_is_told_alike(client, kind):
    first, second = (told(client, f"/plain/{kind}", accept="*/*") for _ in range(2))
    assert (first[0], first[2]["Content-Type"]) == (second[0], second[2]["Content-Type"])
    assert first[0] in (409, 422)


def test_each_accept_is_asked_once(client, made):
    told(client, "/plain/list", accept="application/json")
    assert told(client, "/plain/mapping", accept="text/csv")[1] == b"a_b"
    assert told(client, "/plain/mapping", accept="text/csv")[1] == b"a_b"
    assert made == [Plain] * 3  # CSV is not plain JSON


@pytest.mark.parametrize("wish", ["/plain/mapping?format=csv", "/plain/mapping.csv"])
def test_a_format_in_the_url_goes_the_long_way(client, wish):
    told(client, "/plain/mapping")
    assert told(client, wish)[1] == b"a_b"
    assert told(client, "/plain/mapping")[1] == b'{"a_b":[1]}'


@pytest.mark.parametrize("name", OWN)
def test_a_view_with_something_of_its_own_is_made_each_time(client, made, name):
    for _ in range(2):
        assert told(client, f"/{name}/mapping", **{"user-agent": "a"})[0] == 200
    assert made == [OWN[name]] * 2


def test_what_a_view_has_of_its_own_is_used_each_time(client):
    for view in ("headed", "behind"):
        headed = [told(client, f"/{view}/mapping", **{"user-agent": name})[2]["X-Query"] for name in "ab"]
        assert headed == ["a", "b"]
    for name in ("choosing", "changing"):
        told(client, f"/{name}/mapping", **{"user-agent": "json"})
        assert told(client, f"/{name}/mapping", **{"user-agent": "csv"})[1] == b"a_b"


def test_other_renderers_are_another_choice(client, monkeypatch):
    told(client, "/plain/mapping")
    monkeypatch.setattr(Plain, "renderer_classes", (Csv,))
    assert told(client, "/plain/mapping")[1] == b"a_b"


def test_not_more_views_are_remembered_than_fit(client, monkeypatch):
    monkeypatch.setattr(finalizing, "MAX_REMEMBERED", 2)
    for n in range(4):
        told(client, "/plain/mapping", accept=f"application/json;v={n}")
    assert len(finalizing._plain_json) <= 2


def test_another_thread_may_forget_the_views_at_any_moment(client, made, monkeypatch):
    class Forgetful(dict):
        def get(self, key, default=None):
            found = super().get(key, default)
            self.clear()
            return found

    monkeypatch.setattr(finalizing, "_plain_json", Forgetful())
    told(client, "/plain/mapping")
    assert told(client, "/plain/mapping")[1] == b'{"a_b":[1]}'
    assert made == [Plain]


def kept_headers():
    """The headers that came from the work, and not from the view that shows its result."""
    return [job.response.get("headers", {}).get("X-Patched") for job in Job.objects.all()]


@pytest.mark.parametrize("decorate", [wraps(APIView.finalize_response), lambda function: function])
def test_code_that_stands_in_place_of_the_librarys_is_called_each_time(client, monkeypatch, decorate):
    """As instrumentation does."""
    original = APIView.finalize_response

    @decorate
    def patched(self, request, response, *args, **kwargs):
        response["X-Patched"] = "yes"
        return original(self, request, response, *args, **kwargs)

    monkeypatch.setattr(APIView, "finalize_response", patched)
    for _ in range(2):
        told(client, "/plain/mapping")
    assert kept_headers() == ["yes", "yes"]


def test_a_callback_of_the_response_gets_its_view_each_time(client):
    for _ in range(2):
        assert told(client, "/plain/called-back")[2]["X-View"] == "Plain"


def test_context_variables_of_one_job_end_with_it(client):
    token = tenant.set("acme")
    client.post("/plain/mapping")
    tenant.reset(token)
    for _ in range(2):
        run_accepted_jobs()
        assert tenant.get() == "public"
        client.post("/plain/mapping")


def test_a_method_that_as_view_was_given_is_called_each_time(client, made):
    for _ in range(2):
        told(client, "/given/mapping")
    assert made == [Plain] * 2


def test_an_argument_that_is_not_kept_fails_each_job(client):
    told(client, "/plain/mapping")
    response = client.post("/plain/mapping")
    job = Job.objects.get(pk=response.json()["id"])
    job.request["kwargs"]["tenant"] = None
    job.save()
    final = follow(client, response, raises=False)
    assert final.status_code == 409


def test_a_long_accept_is_not_remembered(client):
    told(client, "/plain/mapping", accept="application/json" + ", text/a" * 100)
    assert not finalizing._plain_json


def test_chosen_headers_reach_the_view_of_a_task_too(client, settings, monkeypatch):
    settings.ASYNC_ACCEPT = {**getattr(settings, "ASYNC_ACCEPT", {}), "KEEP_HEADERS": ("X-Tenant",)}
    monkeypatch.setattr(Plain, "accept_headers", "X-Shop")
    client.post("/plain/mapping", headers={"x-shop": "a", "x-tenant": "b", "x-other": "c"})
    meta = Job.objects.get().request["meta"]
    assert {name: value for name, value in meta.items() if name.startswith("HTTP_X_")} == {
        "HTTP_X_SHOP": "a",
        "HTTP_X_TENANT": "b",
    }
