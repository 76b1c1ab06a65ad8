"""The URLs in the status document."""

import pytest
from rest_framework.request import Request
from rest_framework.reverse import reverse
from rest_framework.versioning import QueryParameterVersioning

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
