"""Who may do what: every URL of the app for every kind of caller. A new route needs a rule here."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.urls import reverse
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from async_accept import urls
from async_accept.models import Job
from async_accept.states import State
from async_accept.testing import make_job, run_accepted_jobs
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db

#: Route and method, by the status for: owner, other, staff who may view, staff who may do everything,
#: anonymous, inactive owner. The job has succeeded.
RULES = {
    ("job-list", "get"): (200, 200, 200, 200, 401, 401),
    ("job-detail", "get"): (200, 404, 200, 200, 401, 401),
    ("job-detail", "delete"): (204, 404, 403, 204, 401, 401),
    ("job-result", "get"): (200, 404, 200, 200, 401, 401),
    ("job-cancel", "post"): (409, 404, 403, 409, 401, 401),
    ("job-rerun", "post"): (202, 404, 403, 202, 401, 401),
    ("job-events", "get"): (406, 404, 406, 406, 401, 401),
}
CALLERS = ("owner", "other", "viewer", "manager", "anonymous", "inactive")
PERMISSIONS = ("view_job", "cancel_job", "rerun_job", "delete_job")


@pytest.fixture
def owner(django_user_model):
    return django_user_model.objects.create(username="owner")


@pytest.fixture
def call(owner, django_user_model):
    """A client for each kind of caller, by token, as a stranger would come."""

    def client_for(caller: str) -> APIClient:
        client = APIClient()
        if caller == "anonymous":
            return client
        if caller in ("owner", "inactive"):
            user = owner
        else:
            user = django_user_model.objects.create(username=caller, is_staff=caller != "other")
        names = {"viewer": PERMISSIONS[:1], "manager": PERMISSIONS}.get(caller, ())
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        if caller == "inactive":
            user.is_active = False
            user.save()
        client.credentials(HTTP_AUTHORIZATION=f"Token {Token.objects.create(user=user).key}")
        return client

    return client_for


def url_of(route: str, pk: object) -> str:
    return reverse(f"async_accept:{route}", args=[] if route == "job-list" else [pk])


def test_every_route_and_method_has_a_rule():
    served = {(pattern.name, method) for pattern in urls.urlpatterns for method in pattern.callback.actions}
    assert served - {(name, "head") for name, _ in served} == set(RULES)


@pytest.mark.parametrize("caller", CALLERS)
def test_rules(call, owner, caller):
    client = call(caller)
    for (route, method), statuses in RULES.items():
        job = make_job(state=State.SUCCEEDED, owner=owner, result={"secret": 1}, input={})
        response = getattr(client, method)(url_of(route, job.pk))
        assert response.status_code == statuses[CALLERS.index(caller)], (route, method)
        if response.status_code >= 400:
            assert b"secret" not in response.content
            assert Job.objects.get(pk=job.pk).state == State.SUCCEEDED


@pytest.mark.parametrize("caller", ["anonymous", "inactive"])
def test_in_no_state_can_a_stranger_touch_a_job(call, owner, caller):
    """Other callers: tests/contract/test_unknown.py."""
    client = call(caller)
    jobs = {
        state: make_job(state=state, owner=owner, result={"secret": 1}, input={}) for state in State.values
    }
    for state, job in jobs.items():
        for route, method in RULES:
            if route != "job-list":
                response = getattr(client, method)(url_of(route, job.pk))
                assert response.status_code == 401, (state, route)
        assert Job.objects.get(pk=job.pk).state == state


@pytest.mark.parametrize("is_theirs", [True, False])
def test_a_project_without_an_anonymous_user_answers_the_same(call, owner, settings, is_theirs):
    """REST framework's ``UNAUTHENTICATED_USER`` may be None."""
    client, answers = call("anonymous"), []
    for nobody in ("django.contrib.auth.models.AnonymousUser", None):
        settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "UNAUTHENTICATED_USER": nobody}
        statuses = {}
        for state in (State.ACCEPTED, State.SUCCEEDED):
            for route, method in RULES:
                job = make_job(state=state, owner=None if is_theirs else owner, input={})
                url = url_of(route, job.pk)
                seen = client.get(url)  # a poll may be answered from memory
                response = getattr(client, method)(url, headers={"if-none-match": seen.get("ETag", "")})
                statuses[state, route, method] = response.status_code
        answers.append(statuses)
    assert answers[0] == answers[1]


# --- The admin ----------------------------------------------------------------------------------------------


#: Each page of the jobs' admin, by the status for: anonymous, user, staff without a permission, staff who may view,
#: staff who may do everything. 302 leads to the login.
ADMIN_RULES = {
    "changelist": (302, 302, 403, 200, 200),
    "add": (302, 302, 403, 403, 403),
    "history": (302, 302, 403, 200, 200),
    "delete": (302, 302, 403, 403, 200),
    "change": (302, 302, 403, 200, 200),
    "live": (302, 302, 403, 200, 200),
    "live_page": (302, 302, 403, 200, 200),
    "dashboard": (302, 302, 403, 200, 200),
    "result": (302, 302, 403, 200, 200),
    "cancel": (302, 302, 403, 403, 200),
    "rerun": (302, 302, 403, 403, 200),
    "purge": (302, 302, 403, 403, 200),
    "export": (302, 302, 403, 403, 200),
}
STAFF = ("anonymous", "user", "staff", "viewer", "manager")
WITHOUT_JOB = ("changelist", "add", "live", "dashboard")


@pytest.fixture
def enter(django_user_model, client):
    def enter(caller: str):
        if caller == "anonymous":
            return client
        user = django_user_model.objects.create(username=caller, is_staff=caller != "user")
        ours = Permission.objects.filter(content_type__app_label="async_accept")
        names = {"viewer": ["view_job"], "manager": ours.values_list("codename", flat=True)}.get(caller, [])
        user.user_permissions.set(ours.filter(codename__in=names))
        client.force_login(user)
        return client

    return enter


def admin_pages():
    """The names of all pages of the jobs' admin."""
    names = {pattern.name for pattern in admin.site._registry[Job].get_urls() if pattern.name}
    return {name.removeprefix("async_accept_job_") for name in names}


def test_every_page_of_the_admin_has_a_rule():
    assert admin_pages() == set(ADMIN_RULES)


@pytest.mark.parametrize("caller", STAFF)
def test_rules_of_the_admin(enter, owner, caller):
    client = enter(caller)
    job = make_job(state=State.SUCCEEDED, owner=owner, result={"secret": 1}, input={"x": "out-of-sight"})
    for name, statuses in ADMIN_RULES.items():
        url = reverse(f"admin:async_accept_job_{name}", args=[] if name in WITHOUT_JOB else [job.pk])
        response = client.get(url)
        assert response.status_code == statuses[STAFF.index(caller)], name
        if caller in ("anonymous", "user", "staff"):
            assert b"secret" not in response.content
        if response.status_code in (302, 403):
            # Nor by sending what a form would send.
            sent = client.post(url, {"confirmed": "yes", "post": "yes"})
            assert sent.status_code == response.status_code, name
            assert sent.status_code == 403 or sent["Location"].startswith(reverse("admin:login"))
        if caller == "viewer":
            assert b"out-of-sight" not in response.content  # the input has a permission of its own
        assert Job.objects.get().state == State.SUCCEEDED


@pytest.mark.parametrize("name", ["cancel", "rerun", "purge"])
def test_what_a_form_sends_does_it_for_those_who_may(enter, owner, name):
    """So the rules above have refused something."""
    job = make_job(state=State.ACCEPTED if name == "cancel" else State.SUCCEEDED, owner=owner, input={})
    url = reverse(f"admin:async_accept_job_{name}", args=[job.pk])
    assert enter("manager").post(url, {"confirmed": "yes"}).status_code == 302
    left = list(Job.objects.values_list("state", flat=True))
    assert left == {"cancel": ["canceled"], "rerun": ["accepted", "succeeded"], "purge": []}[name]


# --- What is seen -------------------------------------------------------------------------------------------


def test_a_list_shows_nobody_elses_jobs(call, owner):
    make_job(owner=owner)
    for caller in ("other", "viewer"):
        assert call(caller).get(url_of("job-list", None)).data["results"] == []


def test_a_deleted_owners_job_belongs_to_nobody(call, owner):
    job = make_job(owner=owner)
    owner.delete()
    for caller, status in (("anonymous", 401), ("other", 404)):
        assert call(caller).get(url_of("job-detail", job.pk)).status_code == status


@pytest.mark.parametrize("loss", ["deleted", "inactive"])
def test_an_owner_who_is_gone_does_nothing_any_more(owner, loss):
    client = APIClient()
    client.force_authenticate(owner)
    accepted = client.post("/api/notes/", {"slug": "a", "title": "A"})
    if loss == "deleted":
        owner.delete()
    else:
        owner.is_active = False
        owner.save()
    (job,) = run_accepted_jobs(raises=False)
    assert str(job.pk) == accepted.data["id"]
    assert (job.state, job.problem["status"]) == (State.FAILED, 403)
    assert not Note.objects.exists()


def test_no_credentials_are_stored_with_a_request(owner):
    client = APIClient()
    token = Token.objects.create(user=owner).key
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}", HTTP_COOKIE="a=b")
    client.post("/api/notes/", {"slug": "a", "title": "A"})
    stored = str(Job.objects.get().request).lower()
    assert token not in stored
    assert "http_authorization" not in stored
    assert "a=b" not in stored
