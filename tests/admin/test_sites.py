"""Jobs at an admin site of another name, in an admin of a project's own, and at a site that takes no notice of ours."""

import re

import pytest
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone

from async_accept.admin import statistics
from async_accept.models import Job
from async_accept.problems import problem
from async_accept.testing import make_job
from tests.admin.conftest import page
from tests.testapp.models import Shelf

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.sites")]


@pytest.fixture
def job():
    """Make one that leads to other pages: to its object, its result, the jobs that it repeats and is repeated by."""
    kind = ContentType.objects.get_for_model(Shelf)
    first = make_job(state="failed", problem=problem("failed"))
    return make_job(
        state="succeeded",
        result=1,
        input={},
        object_type=kind,
        object_id="1",
        rerun_of=first.pk,
        rerun_as=first.pk,
    )


def links(html: str) -> list[str]:
    return re.findall(r'(?:href|action|data-aa-\w+)="(/[^"]*)"', html)


@pytest.mark.parametrize("name", ["", "{pk}/change/", "{pk}/rerun/", "{pk}/history/", "dashboard/"])
def test_every_link_stays_at_the_site(boss, job, name):
    make_job(created_at=timezone.now() - statistics.QUIET * 2)
    html = page(boss, f"/operations/async_accept/job/{name.format(pk=job.pk)}")
    found = [link for link in links(html) if not link.startswith(("/static/", "/api/"))]
    assert len(found) > 5
    assert [link for link in found if not link.startswith("/operations/") and link != "/"] == []


def test_the_pages_of_a_job_lead_to_all_that_belongs_to_it(boss, job):
    html = page(boss, f"/operations/async_accept/job/{job.pk}/change/")
    for url in (
        f"/operations/async_accept/job/{job.pk}/rerun/",
        f"/operations/async_accept/job/{job.pk}/result/",
        f"/operations/async_accept/job/{job.rerun_of}/change/",
        f"/operations/async_accept/job/{job.pk}/live/",
        "/operations/testapp/shelf/1/change/",
        "/operations/django_celery_results/taskresult/",
    ):
        assert url in html


def test_a_deed_leads_back_to_the_site(boss):
    job = make_job()
    response = boss.post(f"/operations/async_accept/job/{job.pk}/cancel/", {"confirmed": "yes"})
    assert response["Location"] == f"/operations/async_accept/job/{job.pk}/change/"
    assert Job.objects.get().state == "canceled"


def test_the_index_of_the_app_leads_to_the_dashboard_of_its_site(boss):
    assert "/operations/async_accept/job/dashboard/" in page(boss, "/operations/async_accept/")


def test_an_admin_with_media_of_its_own_keeps_ours(boss):
    html = page(boss, "/branded/async_accept/job/")
    for name in ("brand.css", "async_accept/admin.css", "async_accept/admin.js", "admin/js/core.js"):
        assert html.count(name) == 1, name


def test_jobs_that_are_registered_without_the_mixin_have_no_dashboard(boss):
    assert "Dashboard of jobs" not in page(boss, "/plain/async_accept/")
    assert "Dashboard of jobs" not in page(boss, "/plain/")


def test_an_object_is_linked_for_those_who_may_look_at_it(staff, boss, job):
    viewer = staff()
    for url in ("/operations/async_accept/job/", f"/operations/async_accept/job/{job.pk}/change/"):
        assert "/operations/testapp/shelf/1/change/" in page(boss, url)
        html = page(viewer, url)
        assert "shelf <wbr>1" in html
        assert "/operations/testapp/shelf/1/change/" not in html
