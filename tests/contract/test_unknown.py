"""Contract 18, in every form of the answer: nothing tells what is another's from what never was."""

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission

from async_accept.models import Job
from async_accept.states import State
from async_accept.testing import make_job

pytestmark = pytest.mark.django_db(transaction=True)

UNKNOWN = "01890000-0000-7000-8000-000000000000"
REQUESTS = [
    *(("GET", endpoint) for endpoint in ("", "result/", "events/")),
    *(("HEAD", endpoint) for endpoint in ("", "result/", "events/")),
    *(("POST", endpoint) for endpoint in ("cancel/", "rerun/")),
    ("DELETE", ""),
]
#: What is never answered, whatever the job; and OPTIONS, which says what is.
ODD = [
    (method, endpoint)
    for endpoint in ("", "result/", "cancel/", "rerun/", "events/")
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    if (method, endpoint) not in REQUESTS
]
PAGE = "text/html,application/xhtml+xml,*/*;q=0.8"
FORMS: dict[str, dict[str, Any]] = {
    "json": {"headers": {"Accept": "application/json"}},
    "page": {"headers": {"Accept": PAGE}},
    "page in German": {"headers": {"Accept": PAGE, "Accept-Language": "de"}},
    "api": {"params": {"format": "api"}},
    "events": {"headers": {"Accept": "text/event-stream"}},
    "xml": {"headers": {"Accept": "application/xml"}},
    "conditions": {"headers": {"If-None-Match": "*", "If-Match": "*", "Last-Event-ID": "1"}},
    "wishes": {"headers": {"Prefer": "wait=5, respond-async, return=minimal", "Idempotency-Key": "k"}},
}


@pytest.fixture
def hers(alice):
    """Jobs of alice's in every state, and one that she has forgotten."""
    owner = get_user_model().objects.get(username="alice")
    columns = {"operation": "sums.add", "input": {"x": 1, "y": 2}, "result": {"sum": 3}, "owner": owner}
    jobs = {state: make_job("tests.testapp.tasks.add", state=state, **columns) for state in State.values}
    jobs["forgotten"] = make_job("tests.testapp.tasks.add", state="running", forgotten=True, **columns)
    return jobs


def told(caller, method: str, name: str, endpoint: str, form: dict[str, Any]) -> tuple[Any, ...]:
    """Return all that the answer says, without the id that the caller has sent and what each page makes anew."""
    response = caller(method, f"/api/jobs/{name}/{endpoint}", **form)
    headers = {k: v for k, v in response.headers.items() if k not in ("Date", "Connection", "Set-Cookie")}
    text = re.sub(r"(csrf\w*\W+(?:value=)?\W*)[A-Za-z0-9]{64}", r"\1…", response.text.replace(name, "ID"))
    return response.status_code, headers, re.sub(r'"[0-9a-f]{32}"', '"KEY"', text), response.cookies.keys()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("who", "refused"), [("bob", 404), ("anybody", 401)])
def test_nothing_tells_anothers_job_from_none(form, who, refused, hers, request):
    """Contract 0, 18: at every endpoint, in JSON, as pages and as events, with whatever headers."""
    caller = request.getfixturevalue(who)
    for method, endpoint in REQUESTS:
        unknown = told(caller, method, UNKNOWN, endpoint, form)
        # A format that an endpoint does not have is refused before anybody is asked who they are.
        has_format = form is not FORMS["api"] or endpoint != "events/"
        assert unknown[0] in ((refused, 406) if has_format else (404,))
        assert told(caller, method, str(hers["succeeded"].pk), endpoint, form) == unknown, (method, endpoint)


@pytest.mark.parametrize("form", ["json", "page"])
def test_nor_does_a_method_that_is_not_allowed(form, hers, bob):
    """Contract 18: 405 and OPTIONS do not look at the job."""
    for method, endpoint in ODD:
        unknown = told(bob, method, UNKNOWN, endpoint, FORMS[form])
        assert unknown[0] == (200 if method == "OPTIONS" else 405)
        assert told(bob, method, str(hers["running"].pk), endpoint, FORMS[form]) == unknown, (
            method,
            endpoint,
        )


def test_whatever_its_state(hers, bob):
    """Contract 18: a job in any state is none to others, and none of their requests changes it."""
    before = list(Job.objects.order_by("id").values())
    for method, endpoint in REQUESTS:
        unknown = told(bob, method, UNKNOWN, endpoint, FORMS["json"])
        for state, job in hers.items():
            assert told(bob, method, str(job.pk), endpoint, FORMS["json"]) == unknown, (
                method,
                endpoint,
                state,
            )
    assert list(Job.objects.order_by("id").values()) == before


def test_what_is_forgotten_is_unknown_to_its_owner_too(hers, alice):
    """Contract 9, 18: 404 from now on, at every endpoint."""
    for method, endpoint in REQUESTS:
        hit = told(alice, method, str(hers["forgotten"].pk), endpoint, FORMS["json"])
        assert hit == told(alice, method, UNKNOWN, endpoint, FORMS["json"])


def test_another_spelling_of_the_id_is_no_url_of_ours(hers, alice):
    """Contract 18: one job, one URL, also for its owner."""
    pk = hers["running"].pk
    for name in (pk.hex, f"{{{pk}}}", f"urn:uuid:{pk}", f"{pk}x"):
        assert alice.get(f"/api/jobs/{name}/").status_code == 404
        assert alice.post(f"/api/jobs/{name}/cancel/").status_code == 404


def _make_staff(name: str, *permissions: str) -> None:
    user = get_user_model().objects.get(username=name)
    user.is_staff = True
    user.save()
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))


def test_staff_without_the_permission_are_others(hers, bob):
    """Contract 18: so are staff who may do something else with jobs, but not see them."""
    _make_staff("bob", "cancel_job", "delete_job")
    for method, endpoint in REQUESTS:
        hit = told(bob, method, str(hers["running"].pk), endpoint, FORMS["json"])
        assert hit == told(bob, method, UNKNOWN, endpoint, FORMS["json"])


def test_a_permission_is_not_enough_without_staff(hers, bob):
    """Contract 18: the permission to view jobs is one of the admin's."""
    get_user_model().objects.get(username="bob").user_permissions.add(
        Permission.objects.get(codename="view_job")
    )
    assert bob.get(f"/api/jobs/{hers['running'].pk}/").status_code == 404


def test_seeing_is_not_changing(hers, bob):
    """Contract 18: staff who may see every job, and no more, get 403 for a change, and nothing is changed."""
    _make_staff("bob", "view_job")
    before = list(Job.objects.order_by("id").values())
    for state, job in hers.items():
        missing = state == "forgotten"
        assert bob.get(f"/api/jobs/{job.pk}/").status_code == (404 if missing else 200)
        for method, endpoint in (("POST", "cancel/"), ("POST", "rerun/"), ("DELETE", "")):
            refused = bob(method, f"/api/jobs/{job.pk}/{endpoint}")
            assert refused.status_code == (404 if missing else 403)
            assert refused.headers["Content-Type"] == "application/problem+json"
    assert list(Job.objects.order_by("id").values()) == before


def test_a_throttle_tells_nothing(hers, bob, settings):
    """Contract 18, 19: polls of another's job and of none are slowed down alike."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"POLL_RATE": "2/min"}
    for name in (hers["running"].pk, UNKNOWN):
        assert [bob.get(f"/api/jobs/{name}/").status_code for _ in range(4)] == [404, 404, 429, 429]


def test_the_list_names_own_jobs_only(hers, alice, bob):
    """Contract 9, 18: whatever is asked for; what its owner has forgotten is not there either."""
    mine = make_job("tests.testapp.tasks.add", owner=get_user_model().objects.get(username="bob"))
    for query in ("", "?status=running,accepted", "?page_size=200"):
        assert [item["id"] for item in bob.get(f"/api/jobs/{query}").json()["results"]] == [str(mine.pk)]
    seen = {item["id"] for item in alice.get("/api/jobs/").json()["results"]}
    assert seen == {str(job.pk) for state, job in hers.items() if state != "forgotten"}
