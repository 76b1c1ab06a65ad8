"""Where the URLs of jobs may stand: at the root, and below the versions that REST framework knows."""

from urllib.parse import urlsplit

import pytest
from django.test import override_settings
from django.urls import include, path
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.versioning import (
    AcceptHeaderVersioning,
    HostNameVersioning,
    NamespaceVersioning,
    QueryParameterVersioning,
    URLPathVersioning,
)
from rest_framework.views import APIView

from async_accept import checks
from async_accept.http.links import job_url
from async_accept.http.views import JobViewSet
from async_accept.mixins import AcceptMixin
from async_accept.testing import follow, make_job, run_accepted_jobs

pytestmark = pytest.mark.django_db

VERSIONS = {"by path": URLPathVersioning, "by namespace": NamespaceVersioning}


class Versioned(AcceptMixin, APIView):
    def post(self, request, **kwargs):
        return Response({"version": request.version})


endpoints = [path("jobs/", include("async_accept.urls")), path("work/", Versioned.as_view())]
urlpatterns = {
    "by path": [path("api/<str:version>/", include(endpoints))],
    "by namespace": [
        path("api/v1/", include((endpoints, "v1"))),
        path("api/v2/", include((endpoints, "v2"))),
    ],
}


@pytest.fixture(params=VERSIONS)
def kind(request):
    return request.param


@pytest.fixture
def versioned(kind, monkeypatch):
    """The URLs and the views of one kind of versioning."""
    for view in (Versioned, JobViewSet):
        monkeypatch.setattr(view, "versioning_class", VERSIONS[kind])
    with override_settings(ROOT_URLCONF=type("urls", (), {"urlpatterns": urlpatterns[kind]})):
        yield


@pytest.fixture
def accepted(versioned, alices):
    response = alices.post("/api/v2/work/")
    assert response.status_code == 202, response.content
    return response


def test_urls_below_a_version_are_found_by_the_check(versioned):
    assert checks.check_urls() == []


def test_the_urls_of_a_job_have_the_version_of_its_request(accepted, alices):
    job = f"http://testserver/api/v2/jobs/{accepted.data['id']}/"
    assert (accepted["Operation-Location"], accepted["Location"]) == (job, f"{job}result/")
    assert alices.get(job).data["url"] == job
    assert follow(alices, accepted).data == {"version": "v2"}


def test_the_page_of_a_job_leads_to_the_list_of_its_version(accepted, alices):
    for query in ("", "?format=html"):
        page = alices.get(accepted["Operation-Location"] + query, headers={"accept": "text/html"})
        assert page.status_code == 200
        assert 'href="http://testserver/api/v2/jobs/"' in page.content.decode()


def test_a_button_leads_back_to_the_page_of_its_version(accepted, alices):
    follow(alices, accepted)
    late = alices.post(accepted.data["cancel_url"], headers={"accept": "text/html"})
    assert (late.status_code, late["Location"]) == (303, accepted["Operation-Location"])


def test_an_error_leads_back_to_the_page_of_its_version(accepted, alices):
    stale = {"accept": "text/html", "if-match": '"stale"'}
    error = alices.post(accepted.data["cancel_url"], headers=stale)
    assert error.status_code == 412
    assert f'href="{accepted["Operation-Location"]}"' in error.content.decode()


def test_a_page_without_a_version_uses_the_urls_without_one(versioned, kind, rf):
    """Both may be mounted beside each other."""
    both = [path("jobs/", include("async_accept.urls")), *urlpatterns[kind]]
    job = make_job()
    with override_settings(ROOT_URLCONF=type("urls", (), {"urlpatterns": both})):
        assert job_url(job, rf.get("/")) == f"http://testserver/jobs/{job.pk}/"


SCHEMES = {
    "by path": URLPathVersioning,
    "by namespace": NamespaceVersioning,
    "by media type": AcceptHeaderVersioning,
    "by parameter": QueryParameterVersioning,
    "by host": HostNameVersioning,
}


@pytest.mark.parametrize("allowed", [None, ("v1", "v2")])
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_urls_outside_of_all_versions_are_found_and_answer(scheme, allowed, alices, monkeypatch):
    """Contract 1: whatever says which version the work is of."""
    for view in (Versioned, JobViewSet):
        monkeypatch.setattr(view, "versioning_class", scheme)
    for kind in SCHEMES.values():
        monkeypatch.setattr(kind, "allowed_versions", allowed)
    work = path("work/", Versioned.as_view())
    outside = [
        path("jobs/", include("async_accept.urls")),
        path("api/v2/", include(([work], "v2"))),
        path("path/<str:version>/", include([work])),
    ]
    where = "/path/v2/work/" if scheme is URLPathVersioning else "/api/v2/work/"
    with override_settings(
        ROOT_URLCONF=type("urls", (), {"urlpatterns": outside}),
        ALLOWED_HOSTS=["v2.example.com", "testserver"],
    ):
        assert checks.check_urls() == []
        headers = {"accept": "application/json; version=v2", "host": "v2.example.com"}
        accepted = alices.post(f"{where}?version=v2", headers=headers)
        assert accepted.status_code == 202, accepted.content
        job = f"/jobs/{accepted.data['id']}/"
        assert urlsplit(accepted["Operation-Location"]).path == job
        run_accepted_jobs()
        assert alices.get(job).data["status"] == "succeeded", "without any version"
        assert alices.get(accepted["Location"], headers=headers).data == {"version": "v2"}


@pytest.mark.parametrize("default", [None, "v2"])
def test_a_request_without_a_version_is_led_to_one(kind, versioned, alices, monkeypatch, default):
    """Contract 1: its job is stored, so its 202 must not fail."""
    monkeypatch.setattr(Versioned, "versioning_class", None)
    monkeypatch.setattr(api_settings, "DEFAULT_VERSION", default)
    monkeypatch.setattr(api_settings, "ALLOWED_VERSIONS", ["v1", "v2"])
    urls = [*urlpatterns[kind], path("work/", Versioned.as_view())]
    with override_settings(ROOT_URLCONF=type("urls", (), {"urlpatterns": urls})):
        accepted = alices.post("/work/")
        assert accepted.status_code == 202
        monitor = f"http://testserver/api/{default or 'v1'}/jobs/{accepted.data['id']}/"
        assert accepted["Operation-Location"] == monitor
        assert follow(alices, accepted).data == {"version": None}


def test_urls_that_no_version_leads_to_are_told(kind, monkeypatch):
    """The view sets of the jobs are not versioned, so their URLs cannot be made."""
    monkeypatch.setattr(JobViewSet, "versioning_class", None)
    with override_settings(ROOT_URLCONF=type("urls", (), {"urlpatterns": urlpatterns[kind]})):
        (message,) = checks.check_urls()
    assert message.id == "async_accept.E003"
    assert "version" in message.hint
