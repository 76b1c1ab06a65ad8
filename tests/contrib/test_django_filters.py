"""The list of jobs answers the same with django-filter and without."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.test import override_settings
from django.urls import include, path
from django.utils import timezone

from async_accept.http.filters import FILTERS, JobFilter
from async_accept.http.views import JobViewSet
from async_accept.models import Job
from async_accept.testing import make_job

filters = pytest.importorskip("django_filters", reason="needs django-filter (extra: filters)")
from async_accept.contrib.django_filters import JobFilterSet, connect  # noqa: E402

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["built in", "django-filter"])
def kind(request, monkeypatch):
    for name in ("filter_backends", "filterset_class"):
        monkeypatch.setattr(JobViewSet, name, getattr(JobViewSet, name, None), raising=False)
    if request.param == "django-filter":
        connect()
    return request.param


@pytest.fixture
def jobs(alice):
    day = timedelta(days=1)
    return {
        state: make_job(
            "tests.testapp.tasks.add",
            state=state,
            owner=alice,
            operation=f"sums.{state}",
            created_at=timezone.now() - days * day,
        )
        for days, state in enumerate(("running", "failed", "succeeded"))
    }


def listed(alices, jobs, **query):
    response = alices.get(f"/api/jobs/?{urlencode(query)}")
    assert response.status_code == 200, response.content
    names = {str(job.pk): state for state, job in jobs.items()}
    return [names[item["id"]] for item in response.data["results"]]


def test_each_filter_narrows(kind, alices, jobs):
    """Contract 9: by status, operation and time, alone and together."""
    noon = timezone.now() - timedelta(hours=12)
    assert set(listed(alices, jobs)) == set(jobs)
    assert listed(alices, jobs, status="failed") == ["failed"]
    assert set(listed(alices, jobs, status="failed,running")) == {"failed", "running"}
    assert listed(alices, jobs, operation="sums.succeeded") == ["succeeded"]
    assert listed(alices, jobs, created_after=noon.isoformat()) == ["running"]
    assert set(listed(alices, jobs, created_before=noon.isoformat())) == {"failed", "succeeded"}
    assert listed(alices, jobs, created_before=noon.isoformat(), status="failed,running") == ["failed"]
    assert set(listed(alices, jobs, status="", created_after="", unknown="x")) == set(jobs)


def test_a_plus_that_was_not_escaped_is_understood(kind, alices, jobs):
    noon = (timezone.now() - timedelta(hours=12)).isoformat()
    response = alices.get(f"/api/jobs/?created_after={noon}")
    assert [item["status"] for item in response.data["results"]] == ["running"]


GARBAGE = ["%", "%s", "%(why)s", "nonsense", "failed,", "\0", "x" * 5000, "☃", "9999-12-31T23:59:59-23:59"]


def test_garbage_is_400_with_an_error_for_the_field(kind, alices):
    """Contract 15: a problem that names the parameter."""
    for name in ("status", "created_after", "created_before"):
        for text in GARBAGE:
            response = alices.get(f"/api/jobs/?{urlencode({name: text})}")
            assert response.status_code == 400, (name, text)
            assert response["Content-Type"] == "application/problem+json"
            assert list(response.json()["errors"]) == [name]
            assert response.json()["errors"][name][0]


def test_every_bad_parameter_is_told_at_once(kind, alices):
    response = alices.get("/api/jobs/?status=x&created_after=y&operation=%00")
    assert set(response.json()["errors"]) == {"status", "created_after", "operation"}


def test_the_form_of_the_browsable_api_has_every_filter():
    form = JobFilterSet({"status": "failed"}, queryset=Job.objects.all()).form
    assert [field.name for field in form] == list(FILTERS)
    assert 'value="failed"' in str(form)


class MoreFilters(JobFilterSet):
    attempt = filters.NumberFilter()


class MoreJobs(JobViewSet):
    filter_backends = (filters.rest_framework.DjangoFilterBackend,)
    filterset_class = MoreFilters


urlpatterns = [
    path("more/", MoreJobs.as_view({"get": "list"})),
    path("api/jobs/", include("async_accept.urls")),
]


@override_settings(ROOT_URLCONF=__name__)
def test_a_project_adds_filters_of_its_own(alices, jobs):
    assert len(alices.get("/more/?attempt=1").data["results"]) == len(jobs)
    assert alices.get("/more/?attempt=7").data["results"] == []
    assert alices.get("/more/?attempt=x").status_code == 400
    assert len(alices.get("/more/?status=failed").data["results"]) == 1


@pytest.mark.programs
def test_installing_it_is_enough():
    code = (
        "from tests import settings; settings.INSTALLED_APPS += ['django_filters']; import django; django.setup();"
        "from async_accept.http.views import JobViewSet; print(JobViewSet.filter_backends[0].__name__)"
    )
    command = [sys.executable, "-c", code]
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=env)
    assert ran.stdout.strip() == "DjangoFilterBackend"


def test_without_it_the_filter_is_built_in():
    assert JobViewSet.filter_backends == (JobFilter,)
