"""Contract 18, in every form of the answer: nothing tells another's job from one that never was."""

import re
from typing import Any

import pytest
import requests
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django_celery_results.models import TaskResult

from async_accept.models import Job
from tests.contract.conftest import ACTIVE, ENDED, UNKNOWN, make_staff, url

pytestmark = pytest.mark.django_db(transaction=True)

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
#: Ids of no job, some of them made from the id of one.
MALFORMED = [
    *("x", "7", "-1", "0", "null", "%00", "%0d%0aX:%20y", "%FF", "%2e%2e", "..%20", "'", '"', "<script>"),
    *("☃", "нет", "a" * 4000, "{id}x", "urn:uuid:{id}", "{{{id}}}", "{hex}"),
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
JSON = FORMS["json"]


@pytest.fixture
def hers(job):
    """Jobs of alice's in every state, and one that she has deleted while it ran."""
    return {state: job(state) for state in (*ACTIVE, *ENDED)} | {"forgotten": job("running", forgotten=True)}


def told(caller, method: str, name: Any, endpoint: str, form: dict[str, Any]) -> tuple[Any, ...]:
    """Return all that the answer says, without the id that the caller has sent and what each page makes anew."""
    response = caller(method, url(name, endpoint), **form)
    headers = {k: v for k, v in response.headers.items() if k not in ("Date", "Connection", "Set-Cookie")}
    pk = str(getattr(name, "pk", name))
    text = response.text.replace(pk, "ID") if len(pk) == len(UNKNOWN) else response.text
    text = re.sub(r"(csrf\w*\W+(?:value=)?\W*)[A-Za-z0-9]{64}", r"\1…", text)
    return response.status_code, headers, re.sub(r'"[0-9a-f]{32}"', '"KEY"', text), response.cookies.keys()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("who", "refused"), [("bob", 404), ("anybody", 401)])
def test_anothers_job_is_as_an_unknown_one(form, who, refused, job, request):
    """Contract 0, 18: at every endpoint, in JSON, as pages and as events, with whatever headers."""
    caller, succeeded = request.getfixturevalue(who), job("succeeded")
    for method, endpoint in REQUESTS:
        unknown = told(caller, method, UNKNOWN, endpoint, form)
        # A format that an endpoint does not have is refused before anybody is asked who they are.
        has_format = form is not FORMS["api"] or endpoint != "events/"
        assert unknown[0] in ((refused, 406) if has_format else (404,))
        assert told(caller, method, succeeded, endpoint, form) == unknown, (method, endpoint)


@pytest.mark.parametrize("form", ["json", "page"])
def test_405_and_options_do_not_look_at_the_job(form, job, bob):
    """Contract 18: they are the same for any id."""
    running = job("running")
    for method, endpoint in ODD:
        unknown = told(bob, method, UNKNOWN, endpoint, FORMS[form])
        assert unknown[0] == (200 if method == "OPTIONS" else 405)
        assert told(bob, method, running, endpoint, FORMS[form]) == unknown, (method, endpoint)


def test_whatever_its_state(hers, bob):
    """Contract 18: a job in any state is unknown to others, and none of their requests changes it."""
    before = list(Job.objects.order_by("id").values())
    for method, endpoint in REQUESTS:
        unknown = told(bob, method, UNKNOWN, endpoint, JSON)
        for state, job in hers.items():
            assert told(bob, method, job, endpoint, JSON) == unknown, (method, endpoint, state)
    assert list(Job.objects.order_by("id").values()) == before


def test_a_malformed_id_is_an_unknown_one(job, alice, configure):
    """Contract 18: also to the owner of the job: one job, one URL."""
    configure(POLL_RATE=None)
    pk = job("running").pk
    form = {"headers": {"Accept": "application/json", "Idempotency-Key": "k", "If-Match": '"x"'}}
    for method, endpoint in [*REQUESTS, ("OPTIONS", ""), ("OPTIONS", "cancel/"), ("PATCH", "")]:
        unknown = told(alice, method, UNKNOWN, endpoint, form)
        for text in MALFORMED:
            name = text.format(id=pk, hex=pk.hex)
            assert told(alice, method, name, endpoint, form) == unknown, (method, name, endpoint)
    assert Job.objects.get().state == "running"


def test_what_is_deleted_is_unknown_to_its_owner_too(job, alice):
    """Contract 9, 18: 404 from now on, at every endpoint."""
    forgotten = job("running", forgotten=True)
    for method, endpoint in REQUESTS:
        assert told(alice, method, forgotten, endpoint, JSON) == told(alice, method, UNKNOWN, endpoint, JSON)


def test_a_job_that_is_deleted_while_its_result_is_read_is_unknown(job, alice, monkeypatch):
    """Contract 9: 404, not a result that has expired."""
    ended = job("succeeded")

    def load(job):
        job.delete()
        raise TaskResult.DoesNotExist

    monkeypatch.setattr("async_accept.jobs.results.load", load)
    assert told(alice, "GET", ended, "result/", JSON) == told(alice, "GET", UNKNOWN, "result/", JSON)


def test_an_invalid_token_is_401(job, base):
    """Contract 0, 18: for the id of a job and for an unknown one alike."""
    for name in (job("running"), UNKNOWN):
        response = requests.get(base + url(name), headers={"Authorization": "Token nonsense"}, timeout=5)
        assert response.status_code == 401
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.headers["WWW-Authenticate"] == "Token"


# --- Staff ----------


def test_staff_without_the_permission_are_others(job, bob):
    """Contract 18: so are staff who may do something else with jobs, but not see them."""
    make_staff("bob", "cancel_job", "delete_job")
    running = job("running")
    for method, endpoint in REQUESTS:
        assert told(bob, method, running, endpoint, JSON) == told(bob, method, UNKNOWN, endpoint, JSON)


def test_a_permission_is_not_enough_without_staff(job, bob):
    """Contract 18: the permission to view jobs is one of the admin's."""
    user = get_user_model().objects.get(username="bob")
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    assert bob.get(url(job("running"))).status_code == 404


def test_seeing_is_not_changing(hers, bob):
    """Contract 18: staff who may only see every job get 403 for a change, and nothing is changed."""
    make_staff("bob", "view_job")
    before = list(Job.objects.order_by("id").values())
    for state, job in hers.items():
        missing = state == "forgotten"
        assert bob.get(url(job)).status_code == (404 if missing else 200)
        for method, endpoint in (("POST", "cancel/"), ("POST", "rerun/"), ("DELETE", "")):
            refused = bob(method, url(job, endpoint))
            assert refused.status_code == (404 if missing else 403)
            assert refused.headers["Content-Type"] == "application/problem+json"
    assert list(Job.objects.order_by("id").values()) == before


# --- Anonymous callers ----------


def test_anonymous_jobs_are_seen_by_whoever_knows_their_url(anybody, bob):
    """Contract 18: the URL is the capability, and its id is random."""
    accepted = anybody.post("/api/open-echo/", {"a": 1})
    assert Job.objects.get().pk.version == 4
    for caller in (anybody, bob):
        assert caller.get(accepted.headers["Operation-Location"]).status_code == 200
    assert bob.get("/api/jobs/").json()["results"] == []
    assert anybody.get("/api/jobs/").status_code == 401
