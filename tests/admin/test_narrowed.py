"""An admin of a project's own that shows some jobs only: one limit holds at every URL."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

from async_accept.admin import JobAdminMixin
from async_accept.models import Job
from async_accept.testing import make_job
from tests.urls import urlpatterns as usual

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class OfAlice(JobAdminMixin, admin.ModelAdmin):
    """Narrows the jobs."""

    def get_queryset(self, request):
        return super().get_queryset(request).filter(owner__username="alice")


class OfGroups(JobAdminMixin, admin.ModelAdmin):
    """Narrows them by a join that finds a job several times."""

    def get_queryset(self, request):
        return super().get_queryset(request).filter(owner__groups__name__in=["one", "two"]).distinct()


class NotOfBob(JobAdminMixin, admin.ModelAdmin):
    """Decides for each job."""

    def has_view_permission(self, request, obj=None):
        return super().has_view_permission(request, obj) and (obj is None or obj.owner.username != "bob")


def site(name: str, job_admin: type) -> admin.AdminSite:
    made = admin.AdminSite(name)
    made.register(Job, job_admin)
    return made


SITES = {"of_alice": OfAlice, "of_groups": OfGroups, "not_of_bob": NotOfBob}
urlpatterns = [*(path(f"{name}/", site(name, each).urls) for name, each in SITES.items()), *usual]

OF_ALICE, OF_GROUPS, NOT_OF_BOB = (f"/{name}/async_accept/job/" for name in SITES)
EVERYTHING = ("cancel_job", "rerun_job", "purge_job", "export_job", "delete_job", "view_input")
PAGES = ("change", "result", "live", "cancel", "rerun", "purge", "export")


@pytest.fixture
def client(staff):
    return staff(*EVERYTHING)


@pytest.fixture
def bob(django_user_model):
    return django_user_model.objects.create_user("bob")


@pytest.fixture
def both(alice, bob):
    """One job of each, of an operation of its own; all that is said of bob's has the word."""
    for name in ("one", "two"):
        alice.groups.add(Group.objects.create(name=name))
    columns = {"state": "succeeded", "result": {"a": "s3cret"}, "input": {"a": "s3cret"}}
    return make_job(operation="of.alice", owner=alice, **columns), make_job(
        operation="of.bob", owner=bob, **columns
    )


def shown(client: Client, url: str, query: str = "") -> list[Job]:
    return list(client.get(url + query).context["cl"].result_list)


@pytest.mark.parametrize("url", [OF_ALICE, OF_GROUPS])
def test_no_page_shows_what_is_not_in_the_list(client, both, url):
    mine, other = both
    assert shown(client, url) == [mine]
    for name in (*PAGES, "history", "delete"):
        response = client.get(f"{url}{other.pk}/{name}/")
        assert response.status_code in (302, 404) or response.json() == {"jobs": {}}, name
    assert client.get(f"{url}live/?ids={mine.pk},{other.pk}").json()["jobs"].keys() == {mine.pk.hex}


@pytest.mark.parametrize("name", PAGES)
def test_a_permission_is_asked_for_each_job(client, both, name):
    mine, other = both
    assert client.get(f"{NOT_OF_BOB}{mine.pk}/{name}/").status_code == 200
    assert client.get(f"{NOT_OF_BOB}{other.pk}/{name}/").status_code == 403


@pytest.mark.parametrize(("url", "status"), [(OF_ALICE, 302), (OF_GROUPS, 302), (NOT_OF_BOB, 403)])
@pytest.mark.parametrize("name", ["cancel", "rerun", "purge"])
def test_nothing_is_done_with_a_job_that_is_not_shown(client, alice, bob, name, url, status):
    job = make_job(owner=bob, state="running" if name == "cancel" else "failed", input={})
    assert client.post(f"{url}{job.pk}/{name}/", {"confirmed": "yes"}).status_code == status
    if url != NOT_OF_BOB:  # in a list, only its query decides
        post = {"action": name, "_selected_action": str(job.pk), "select_across": "1", "confirmed": "yes"}
        client.post(url, post)
    assert list(Job.objects.values_list("pk", "state")) == [(job.pk, job.state)]


def test_the_other_pages_work_as_ever(client, both):
    mine, _other = both
    for name in (*PAGES, "history", "delete"):
        assert client.get(f"{OF_ALICE}{mine.pk}/{name}/").status_code == 200, name
    response = client.post(f"{OF_ALICE}{mine.pk}/purge/", {"confirmed": "yes"})
    assert [str(message) for message in get_messages(response.wsgi_request)] == ["1 job was purged."]


@pytest.mark.parametrize("url", [OF_ALICE, OF_GROUPS])
def test_filter_and_search_know_no_other_operation(client, both, url):
    mine, _other = both
    html = client.get(url).content.decode()
    assert "?operation=of.alice" in html
    assert "of.bob" not in html
    assert shown(client, url, "?q=op:of") == [mine]
    assert shown(client, url, "?q=of.bob") == []


@pytest.mark.parametrize("url", [OF_ALICE, OF_GROUPS])
def test_the_dashboard_counts_only_what_the_list_shows(client, both, alice, bob, url):
    """Also right after the figures of all jobs were cached, and before."""
    for owner, failed in ((alice, 2), (bob, 3)):
        for _ in range(failed):
            make_job(owner=owner, operation=f"of.{owner}", state="failed")
            make_job(owner=owner)

    def figures(of: str) -> tuple:
        context = client.get(f"{of}dashboard/").context
        cards = [card["value"] for card in context["cards"]]
        failing = [(row["operation"], row["count"]) for row in context["failing"]]
        return cards[:3], failing, context["chart"]["total"], context["figures"]["sample"]

    narrowed = (["2", "0", "2"], [("of.alice", 2)], 5, 1)
    everything = (["5", "0", "5"], [("of.bob", 3), ("of.alice", 2)], 12, 2)
    assert [figures(of) for of in (url, NOT_OF_BOB, url)] == [narrowed, everything, narrowed]


@pytest.mark.parametrize("url", [OF_ALICE, OF_GROUPS])
def test_it_costs_no_further_statement(client, both, cold_caches, url):
    for page, most in (("", 6), ("dashboard/", 8), (f"{both[0].pk}/change/", 6)):
        cold_caches()
        with CaptureQueriesContext(connection) as captured:
            assert client.get(url + page).status_code == 200
        assert len(captured) <= most, page
