"""Who may ask at the URLs of jobs: the settings decide, and a caller without credentials learns nothing."""

import pytest
from django.db import connection
from django.db.models import Q
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from rest_framework.authentication import BasicAuthentication, SessionAuthentication, TokenAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.test import APIClient
from rest_framework.throttling import BaseThrottle

from async_accept.http.views import JobViewSet
from async_accept.models import Job
from async_accept.testing import make_job
from async_accept.urls import job_urls

pytestmark = pytest.mark.django_db(transaction=True)

UNKNOWN = "01890000-0000-7000-8000-000000000000"
REQUESTS = [
    *((method, endpoint) for method in ("get", "head") for endpoint in ("", "result/", "events/")),
    *(("post", endpoint) for endpoint in ("cancel/", "rerun/")),
    ("delete", ""),
]
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


class Nobody(BasePermission):
    def has_permission(self, request, view):
        return False


class NotThis(BasePermission):
    def has_object_permission(self, request, view, obj):
        return False


class Never(BaseThrottle):
    def allow_request(self, request, view):
        return False


def chosen(**classes):
    return override_settings(
        ASYNC_ACCEPT={f"{name.upper()}_CLASSES": kinds for name, kinds in classes.items()}
    )


def urlconf(views):
    return type("urls", (), {"urlpatterns": [path("api/jobs/", include(job_urls(views)))]})


def answers(client, job, method, endpoint, **headers):
    """Return what is said of a job, of an unknown id and of a malformed one, without what each page makes anew."""
    told = []
    for name in (str(job.pk), UNKNOWN, "nothing"):
        response = getattr(client, method)(f"/api/jobs/{name}/{endpoint}", headers=headers)
        text = b"".join(response.streaming_content) if response.streaming else response.content
        told.append((response.status_code, dict(response.headers), text.replace(name.encode(), b"ID")))
    return told


# --- Without credentials -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "status", "header"),
    [
        ([TokenAuthentication, SessionAuthentication], 401, "Token"),
        (["rest_framework.authentication.BasicAuthentication"], 401, 'Basic realm="api"'),
        ([SessionAuthentication, BasicAuthentication], 403, None),
    ],
)
@pytest.mark.parametrize("call", REQUESTS, ids=" ".join)
def test_whoever_says_nothing_is_asked_who_they_are(kinds, status, header, call, alice):
    """Contract 0: as elsewhere in the project, whether there is such a job or not."""
    job = make_job(owner=alice)
    with chosen(authentication=kinds):
        told = answers(APIClient(), job, *call, accept="application/json")
    assert told[0] == told[1] == told[2]
    assert told[0][0] == status
    assert told[0][1].get("WWW-Authenticate") == header
    assert told[0][1]["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("call", REQUESTS, ids=" ".join)
def test_where_nobody_is_authenticated_there_is_no_such_job(call, alice):
    job = make_job(owner=alice)
    with chosen(authentication=[]):
        told = answers(APIClient(), job, *call)
    assert told[0] == told[1] == told[2]
    assert told[0][0] == 404


@pytest.mark.parametrize("method", ["get", "head"])
def test_the_list_is_somebodys(method, alice):
    make_job(owner=alice)
    make_job()
    assert getattr(APIClient(), method)("/api/jobs/").status_code == 401
    with chosen(authentication=[SessionAuthentication]):
        assert getattr(APIClient(), method)("/api/jobs/").status_code == 403
    with chosen(authentication=[]):
        assert APIClient().get("/api/jobs/").json()["results"] == []


@pytest.mark.parametrize("call", REQUESTS, ids=" ".join)
def test_an_anonymous_callers_job_is_anybodys(call):
    method, endpoint = call
    job = make_job(anonymous=True)
    response = getattr(APIClient(), method)(f"/api/jobs/{job.pk}/{endpoint}")
    assert response.status_code not in (401, 403, 404)


def test_conditions_tell_nothing(alice):
    job = make_job(owner=alice)
    for call in REQUESTS:
        told = answers(
            APIClient(), job, *call, if_match="*", if_none_match="*", last_event_id="1", prefer="wait=1"
        )
        assert told[0] == told[1] == told[2]
        assert told[0][0] == 401


def test_a_page_offers_to_log_in_and_no_way_back(alice, settings):
    settings.LOGIN_URL = "admin:login"
    job = make_job(owner=alice)
    html = APIClient().post(f"/api/jobs/{job.pk}/cancel/", headers={"accept": BROWSER}).content.decode()
    assert "Log in" in html
    assert "Back to the job" not in html


def test_wrong_credentials_are_refused_whatever_the_job(alice):
    job = make_job(owner=alice)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION="Token nonsense")
    told = answers(client, job, "get", "")
    assert told[0] == told[1] == told[2]
    assert told[0][0] == 401


# --- The settings ------------------------------------------------------------------------------------------------


def test_the_settings_are_read_when_they_are_used(alice, alices):
    job = make_job(owner=alice)
    monitor = f"/api/jobs/{job.pk}/"
    assert alices.get(monitor).status_code == 200
    with chosen(permission=[Nobody]):
        assert alices.get(monitor).status_code == 403
        assert alices.get("/api/jobs/").status_code == 403
    with chosen(permission=[NotThis]):
        assert alices.get(monitor).status_code == 403
        assert alices.post(f"{monitor}cancel/").status_code == 403
        assert alices.get(f"/api/jobs/{UNKNOWN}/").status_code == 404
    with chosen(throttle=[Never]):
        assert alices.get(monitor).status_code == 429
    with chosen(throttle=[]):
        assert alices.get(monitor).status_code == 200


def test_another_scheme_is_taken(alice):
    alice.set_password("open sesame")
    alice.save()
    job = make_job(owner=alice)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION="Basic YWxpY2U6b3BlbiBzZXNhbWU=")
    assert client.get(f"/api/jobs/{job.pk}/").status_code == 401
    with chosen(authentication=["rest_framework.authentication.BasicAuthentication"]):
        assert client.get(f"/api/jobs/{job.pk}/").status_code == 200
        assert len(client.get("/api/jobs/").json()["results"]) == 1


def test_a_class_of_the_projects_own_beats_the_settings():
    class Jobs(JobViewSet):
        authentication_classes = (BasicAuthentication,)

    with chosen(authentication=[SessionAuthentication], throttle=[Never]):
        assert Jobs.authentication_classes == (BasicAuthentication,)
        assert Jobs(authentication_classes=[TokenAuthentication]).authentication_classes == [
            TokenAuthentication
        ]
        assert Jobs.throttle_classes == [Never]


# --- A team ------------------------------------------------------------------------------------------------------


class TeamJobViewSet(JobViewSet):
    """Shows what belongs to a group of the caller's; a job of several common groups is found several times."""

    def get_queryset(self):
        mine = Q(owner=self.request.user) | Q(owner__groups__in=self.request.user.groups.all())
        return Job.objects.filter(mine, forgotten=False).distinct()

    def may_change(self, job, permission):
        return True


@pytest.fixture
def team_job(alice, django_user_model):
    """A job of bob's, who is in two groups with alice."""
    from django.contrib.auth.models import Group

    bob = django_user_model.objects.create(username="bob")
    for name in ("one", "two"):
        group = Group.objects.create(name=name)
        alice.groups.add(group)
        bob.groups.add(group)
    with override_settings(ROOT_URLCONF=urlconf(TeamJobViewSet)):
        yield make_job("tests.testapp.tasks.add", owner=bob, input={"x": 1, "y": 2})


def test_a_team_follows_every_url_that_it_is_told(team_job, alices):
    document = alices.get(f"/api/jobs/{team_job.pk}/").json()
    assert alices.get(document["url"]).status_code == 200
    assert alices.get(document["result_url"]).status_code == 202
    assert alices.post(document["cancel_url"]).status_code == 202
    assert alices.post(document["rerun_url"]).status_code == 202
    assert len(alices.get("/api/jobs/").json()["results"]) == 2


@pytest.mark.parametrize("call", [("post", "cancel/"), ("post", "rerun/"), ("delete", "")], ids=" ".join)
def test_if_match_locks_whatever_the_query_is(call, team_job, alices):
    """A database refuses FOR UPDATE with DISTINCT."""
    method, endpoint = call
    if endpoint == "rerun/":
        team_job.cancel()
    monitor = f"/api/jobs/{team_job.pk}/"
    tag = alices.get(monitor)["ETag"]
    change = getattr(alices, method)
    assert change(monitor + endpoint, headers={"If-Match": '"old"'}).status_code == 412
    with CaptureQueriesContext(connection) as queries:
        assert change(monitor + endpoint, headers={"If-Match": tag}).status_code in (202, 204)
    locking = [query["sql"] for query in queries if "FOR UPDATE" in query["sql"]]
    assert len(locking) == connection.features.has_select_for_update
    assert not any("DISTINCT" in sql for sql in locking)


class SharedJobViewSet(JobViewSet):
    def also_visible(self):
        return Q(operation="shared")


def test_jobs_of_others_may_be_shared(alices, django_user_model):
    bob = django_user_model.objects.create(username="bob")
    jobs = {name: make_job(owner=bob, operation=name) for name in ("shared", "own")}
    gone = make_job(owner=bob, operation="shared", forgotten=True)
    with override_settings(ROOT_URLCONF=urlconf(SharedJobViewSet)):
        seen = {name: alices.get(f"/api/jobs/{job.pk}/") for name, job in jobs.items()}
        assert [response.status_code for response in seen.values()] == [200, 404]
        assert alices.get(f"/api/jobs/{gone.pk}/").status_code == 404
        assert [job["operation"] for job in alices.get("/api/jobs/").json()["results"]] == ["shared"]
        tag = {"If-None-Match": seen["shared"]["ETag"]}
        assert alices.get(f"/api/jobs/{jobs['shared'].pk}/", headers=tag).status_code == 304
        assert alices.post(f"/api/jobs/{jobs['shared'].pk}/cancel/").status_code == 403
        assert APIClient().get(f"/api/jobs/{jobs['shared'].pk}/").status_code == 401
