"""What the URL of a list may compare: what filters name, and nothing that lets somebody guess stored data."""

from types import ModuleType
from typing import Any

import pytest
from django.contrib import admin
from django.test import override_settings
from django.urls import path

from async_accept.admin import JobAdminMixin
from async_accept.models import Job
from async_accept.testing import make_job
from tests.admin.conftest import LIST

pytestmark = pytest.mark.django_db


class TagFilter(admin.SimpleListFilter):
    title, parameter_name = "tag", "tag"

    def lookups(self, request, model_admin):
        return [("x", "x")]

    def queryset(self, request, queryset):
        return queryset.filter(operation=self.value()) if self.value() else None


FILTERS = (
    "queue",
    "owner",
    "owner__is_staff",
    "input",
    ("created_at", admin.DateFieldListFilter),
    ("worker", admin.EmptyFieldListFilter),
)


@pytest.fixture
def ask(boss, alice):
    """Ask a project's own admin, with two jobs, for its list; return how many it shows, or the status."""

    def get(query: str, **attributes: Any) -> int:
        site = admin.AdminSite("own")
        site.register(Job, type("Own", (JobAdminMixin, admin.ModelAdmin), attributes))
        urls: Any = ModuleType("urls")
        urls.urlpatterns = [path("own/", site.urls)]
        with override_settings(ROOT_URLCONF=urls):
            response = boss.get(f"/own/async_accept/job/?{query}")
        return (
            len(response.context["cl"].result_list) if response.status_code == 200 else response.status_code
        )

    make_job(operation="x", queue="fast", worker="w", owner=alice, state="running", input={"a": 1})
    make_job(operation="y", queue="slow")
    return get


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("queue=fast", 1),
        ("queue__exact=fast", 1),
        ("created_at__gte=2020-01-01 00:00:00Z&created_at__lt=2021-01-01 00:00:00Z", 0),
        ("created_at__isnull=False", 2),
        ("worker__isempty=1", 1),
        ("owner__isnull=True", 1),
        ("owner__id__exact=0", 0),
        ("owner__is_staff__exact=0", 1),
    ],
)
def test_a_filter_of_a_field_works(ask, query, count):
    assert ask(query, list_filter=(*JobAdminMixin.list_filter, *FILTERS)) == count
    assert ask(query) == 400


@pytest.mark.parametrize(
    "query",
    [
        *("input__startswith=a", "input=a", "request__contains=a", "problem=a", "log__icontains=a"),
        *("owner__password__startswith=a", "owner__username=a", "owner__id__exact__x=1", "queuex=a"),
        *("owner__groups__name=a", "worker_pid=1"),
    ],
)
def test_nothing_else_is_compared(ask, query):
    assert ask(query, list_filter=FILTERS) == 400


def test_a_hierarchy_of_dates_works(ask):
    assert ask("created_at__year=2020", date_hierarchy="created_at") == 0
    assert ask("created_at__year=2020") == 400


def test_a_filter_that_depends_on_the_request_works(ask):
    own = {"get_list_filter": lambda self, request: [*self.list_filter, TagFilter]}
    assert ask("tag=x", **own) == 1
    assert ask("tag=x") == 400


@pytest.mark.parametrize("name", ["object_id", "object_id__exact", "operation__exact", "state__exact"])
def test_a_character_that_no_database_stores_is_refused(boss, name):
    assert boss.get(f"{LIST}?{name}=%00").status_code == 400
