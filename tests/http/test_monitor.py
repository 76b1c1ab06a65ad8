"""The URLs in the status document."""

import gc

import pytest
from django.urls import get_script_prefix, set_script_prefix
from django.urls.base import clear_url_caches
from django.utils import translation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.reverse import reverse
from rest_framework.versioning import QueryParameterVersioning

from async_accept.http import links
from async_accept.http.links import job_url
from async_accept.testing import make_job

pytestmark = pytest.mark.django_db

ENDPOINTS = ("", "result", "cancel", "rerun", "events")


@pytest.mark.parametrize("scheme", [None, QueryParameterVersioning()])
def test_an_endpoint_has_the_url_that_its_route_has(rf, scheme):
    """They are made of one another, not reversed one by one."""
    request = Request(rf.get("/", {"version": "v1"}))
    request.version, request.versioning_scheme = "v1", scheme
    job = make_job()
    for endpoint in ENDPOINTS:
        route = f"async_accept:job-{endpoint or 'detail'}"
        assert job_url(job, request, endpoint) == reverse(route, [job.pk], request=request)


def test_urls_have_no_format(client):
    job = make_job(anonymous=True)
    document = client.get(f"/api/jobs/{job.pk}/?format=json").json()
    for name in ("url", "result_url", "cancel_url", "rerun_url", "events_url"):
        assert document[name].endswith("/")


def test_urls_in_a_202_of_the_browsable_api_have_no_format(client, django_user_model):
    client.force_login(django_user_model.objects.create(username="alice"))
    response = client.post("/api/notes/?format=api", {"slug": "a", "title": "A"})
    assert response.status_code == 202
    for name in ("Location", "Operation-Location", "Content-Location", "Link"):
        assert "format" not in response[name]


def test_a_format_suffix_of_the_host_view_is_not_copied(client, django_user_model):
    client.force_login(django_user_model.objects.create(username="alice"))
    response = client.post("/api/v1/linked-notes.json", {"slug": "a", "title": "A"})
    assert response.status_code == 202
    assert response["Operation-Location"].endswith("/")


def test_other_parameters_of_a_url_stay(rf):
    request = Request(rf.get("/", {"version": "v1", "format": "api"}))
    request.version, request.versioning_scheme = "v1", QueryParameterVersioning()
    job = make_job()
    for endpoint in ENDPOINTS:
        assert job_url(job, request, endpoint).endswith("/?version=v1")


def test_without_a_format_parameter_in_the_settings_nothing_is_removed(rf, settings):
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"URL_FORMAT_OVERRIDE": None}
    assert job_url(make_job(), Request(rf.get("/?format=api"))).endswith("/")


@pytest.fixture
def script_prefix():
    before = get_script_prefix()
    yield set_script_prefix
    set_script_prefix(before)


@pytest.mark.parametrize(
    "prefix", ["/", "/app/", "/%C3%A9/", "/x/../y/", "app/", "//host/", "https://cdn.example.com/"]
)
def test_each_script_prefix_has_the_url_of_its_route(rf, script_prefix, prefix):
    request, job = Request(rf.get("/notes/")), make_job()
    for each in ("/", prefix, "/"):
        script_prefix(each)
        expected = reverse("async_accept:job-detail", [job.pk], request=request)
        assert job_url(job, request) == expected


def test_what_is_known_of_urls_is_bounded_and_goes_with_its_urlconf(script_prefix, monkeypatch):
    monkeypatch.setattr(links, "SIZE", 3)
    job = make_job()
    for n in range(5):
        script_prefix(f"/{n}/")
        with translation.override("de"):
            assert job_url(job, None).startswith(f"/{n}/")
    [known] = [each for each in links._paths.values() if ("/4/", "de") in each]
    assert len(known) <= 3
    before = len(links._paths)
    for _ in range(5):
        clear_url_caches()
        job_url(job, None)
    gc.collect()
    assert len(links._paths) <= before + 1


class Serialized(BaseRenderer):
    """As JSON:API's renderer: it asks the data for their serializer."""

    media_type = "application/json"
    format = "json"

    def render(self, data, *args, **kwargs):
        serializer = getattr(data, "serializer", None)
        return f'{{"url": "{data["url"]}", "fields": {len(serializer.fields) if serializer else 0}}}'


def test_a_renderer_that_asks_for_the_serializer_gets_it(client, settings, django_user_model):
    settings.ASYNC_ACCEPT = {
        **getattr(settings, "ASYNC_ACCEPT", {}),
        "RENDERER_CLASSES": [f"{__name__}.Serialized"],
    }
    client.force_login(django_user_model.objects.create(username="alice"))
    accepted = client.post("/api/notes/", {"slug": "a", "title": "A"})
    polled = client.get(accepted.json()["url"])
    assert accepted.json()["fields"] == polled.json()["fields"] > 10
