"""The buttons of a job outside of the admin: only those that work are shown."""

import re
from types import ModuleType
from typing import Any

import pytest
from django.db.models import Q
from django.template import Context, Template
from django.test import Client, override_settings
from django.urls import include, path
from rest_framework.permissions import SAFE_METHODS, BasePermission

from async_accept.http.views import JobViewSet
from async_accept.models import Job
from async_accept.testing import make_job
from async_accept.urls import job_urls

pytestmark = pytest.mark.django_db


class Team(JobViewSet):
    """Everybody sees every job, and may cancel it."""

    def also_visible(self):
        return ~Q(pk=None)

    def may_change(self, job, permission):
        return permission == "cancel_job" or super().may_change(job, permission)


class NoCancel(JobViewSet):
    def may_change(self, job, permission):
        return permission != "cancel_job" and super().may_change(job, permission)


class ReadOnly(BasePermission):
    def has_permission(self, request, view):
        return request.method in SAFE_METHODS


class NotThis(BasePermission):
    def has_object_permission(self, request, view, obj):
        return request.method in SAFE_METHODS


@pytest.fixture
def bobs(django_user_model):
    client = Client(headers={"accept": "text/html"})
    client.force_login(django_user_model.objects.create_user("bob"))
    return client


@pytest.fixture
def alices(alice):
    client = Client(headers={"accept": "text/html"})
    client.force_login(alice)
    return client


def urlconf(views: type) -> Any:
    urls: Any = ModuleType("urls")
    urls.urlpatterns = [path("api/jobs/", include(job_urls(views)))]
    return override_settings(ROOT_URLCONF=urls)


def buttons(html: str) -> set[str]:
    return set(re.findall(r'<form method="post"[^>]*data-part="(\w+)"', html))


def works(client: Client, job: Job, verb: str) -> bool:
    answer = client.post(f"/api/jobs/{job.pk}/{verb}/", headers={"accept": "application/json"})
    return answer.status_code not in (403, 404)


@pytest.mark.parametrize(
    ("views", "who", "shown"),
    [
        (JobViewSet, "alices", {"cancel", "rerun"}),
        (Team, "bobs", {"cancel"}),
        (NoCancel, "alices", {"rerun"}),
        (type("Views", (JobViewSet,), {"permission_classes": [ReadOnly]}), "alices", set()),
        (type("Views", (JobViewSet,), {"permission_classes": [NotThis]}), "alices", set()),
    ],
    ids=["usual", "team", "no cancel", "read only", "not this"],
)
def test_the_page_shows_the_buttons_that_work(request, alice, views, who, shown):
    client = request.getfixturevalue(who)
    job = make_job(owner=alice, input={})
    with urlconf(views):
        for query in ("", "?format=api"):
            assert buttons(client.get(f"/api/jobs/{job.pk}/{query}").content.decode()) == shown
        assert {verb for verb in ("cancel", "rerun") if works(client, job, verb)} == shown


@pytest.mark.parametrize(("views", "shown"), [(Team, {"cancel"}), (JobViewSet, set())])
def test_a_template_shows_the_same_buttons(rf, alice, django_user_model, views, shown):
    """With a request that is none of REST framework's."""
    request = rf.get("/")
    request.user = django_user_model.objects.create_user("bob")
    with urlconf(views):
        template = Template("{% load async_accept %}{% async_job job %}")
        html = template.render(Context({"request": request, "job": make_job(owner=alice)}))
    assert buttons(html) == shown


def test_the_wait_is_a_number_for_the_script(rf, settings):
    settings.USE_THOUSAND_SEPARATOR = True
    template = Template("{% load async_accept %}{% async_job job wait=3600 %}")
    html = template.render(Context({"request": rf.get("/"), "job": make_job()}))
    assert 'data-wait="3600"' in html
