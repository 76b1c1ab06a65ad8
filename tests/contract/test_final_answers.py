"""Contract 4, 9 to 11, 13, 15: what stands around a final answer, and how the worker's errors reach R."""

import re
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.urls import include, path
from django.utils import timezone
from rest_framework import exceptions as drf
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from async_accept.conf import DEFAULTS
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.problems import problem
from tests import urls
from tests.contract.cases import SUM
from tests.contract.conftest import url
from tests.testapp import contract_tasks
from tests.testapp.models import Note

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

ENDED = ("succeeded", "failed", "canceled")


class Slow(drf.APIException):
    status_code = 408


class Locked(drf.APIException):
    status_code = 423
    default_detail = "Somebody else is at it."


#: What a view raises in the worker, and what R answers.
ERRORS = {
    "invalid": (lambda: drf.ValidationError({"x": ["Not this one."]}), 400),
    "forbidden": (PermissionDenied, 403),
    "missing": (Http404, 404),
    "conflict": (Locked, 423),
    "slow": (Slow, 409),
    "throttled": (lambda: drf.Throttled(wait=9), 409),
    "server": (drf.APIException, 409),
    "crash": (lambda: ValueError("/srv/secret.py, line 7: hunter2"), 409),
}

#: What REST framework's exception handler makes of those that are R's as they are.
OWN = {
    "invalid": {"x": ["Not this one."]},
    "forbidden": {"detail": "You do not have permission to perform this action."},
    "missing": {"detail": "Not found."},
    "conflict": {"detail": "Somebody else is at it."},
}


class ErrorView(AcceptMixin, APIView):
    """Fails in the worker as told; or answers with that status."""

    permission_classes = (IsAuthenticated,)

    def post(self, request, kind):
        if kind.isdecimal():
            return Response(
                {"detail": "Too bad."}, status=int(kind), headers={"Retry-After": "3", "X-Own": "yes"}
            )
        raise ERRORS[kind][0]()


urlpatterns = [path("api/errors/<str:kind>/", ErrorView.as_view()), path("", include(urls))]


@pytest.mark.parametrize("kind", ERRORS)
def test_what_the_view_raises_in_the_worker_is_a_final_4xx(kind, alice, worker):
    """Contract 10, 15: its own 4xx, else 409, never 408, 429 or 5xx; no Retry-After; nothing of a crash is told.

    Its own 4xx has the format that the view's errors have; M tells the same as a problem.
    """
    accepted = alice.post(f"/api/errors/{kind}/", {})
    answer = alice.follow(accepted)
    assert answer.status_code == ERRORS[kind][1]
    assert "Retry-After" not in answer.headers
    assert not re.search(r"hunter2|srv|Traceback|line 7", answer.text)
    monitor = alice.get(accepted.headers["Operation-Location"])
    assert (monitor.status_code, monitor.json()["status"]) == (200, "failed")
    error = monitor.json()["error"]
    assert error["status"] == answer.status_code
    assert error["message"] == error["detail"]
    if kind in OWN:
        assert (answer.headers["Content-Type"], answer.json()) == ("application/json", OWN[kind])
        assert error.get("errors", {"detail": error["detail"]}) == OWN[kind]
    else:
        assert (answer.headers["Content-Type"], answer.json()) == ("application/problem+json", error)


@pytest.mark.parametrize(
    ("status", "final"), [(400, 400), (422, 422), (408, 409), (429, 409), (500, 409), (503, 409)]
)
def test_an_error_that_the_view_answers_is_one_that_it_raises(status, final, alice, worker):
    """Contract 10: also where the view returns it, with a Retry-After of its own."""
    accepted = alice.post(f"/api/errors/{status}/", {})
    answer = alice.follow(accepted)
    error = alice.get(accepted.headers["Operation-Location"]).json()["error"]
    assert answer.status_code == error["status"] == final
    assert "Retry-After" not in answer.headers
    own = status == final
    assert answer.json() == ({"detail": "Too bad."} if own else error)
    assert answer.headers.get("X-Own") == ("yes" if own else None)


@pytest.mark.parametrize("expired", [False, True], ids=["kept", "expired"])
@pytest.mark.parametrize("state", ENDED)
def test_headers_of_a_final_answer(job, alice, state, expired):
    """Contract 11, 13: private and to be revalidated, where M is, until when it is kept; HEAD as GET."""
    done = job(state, is_expired=expired)
    expires_at = datetime.fromisoformat(alice.get(url(done)).json()["expires_at"])
    for method in ("GET", "HEAD"):
        headers = alice(method, url(done, "result/")).headers
        assert headers["Cache-Control"] == "private, no-cache"
        assert headers["Operation-Location"] == f"{alice.base}{url(done)}"
        assert parsedate_to_datetime(headers["Sunset"]) == expires_at.replace(microsecond=0)
        assert {"Accept", "Prefer", "Authorization", "Cookie"} <= set(re.split(r",\s*", headers["Vary"]))
        assert not {"Retry-After", "Expires", "Preference-Applied"} & set(headers)


@pytest.mark.parametrize("wish", ["wait=10, return=minimal", "respond-async, wait=10, return=minimal"])
def test_preferences_of_a_genuine_answer(wish, alice, worker):
    """Contract 4: where the final answer comes, nothing is minimal or asynchronous, and it is not said to be."""
    note = {"slug": "first", "title": "First"}
    answer = alice.post("/api/policies/always/notes/", note, headers={"Prefer": wish})
    assert (answer.status_code, answer.json()["slug"]) == (201, "first")
    assert answer.headers["Preference-Applied"] == "wait=10"
    job = Job.objects.get()
    assert answer.headers["Operation-Location"] == f"{alice.base}{url(job)}"
    assert answer.content == alice.get(url(job, "result/")).content


def test_a_repeat_that_waits_gets_the_genuine_answer(alice, worker):
    """Contract 4, 5: the first answer may be the 202 and the second the end; one job all the same."""
    key = {"Idempotency-Key": "k"}
    first = alice.post("/api/policies/always/class/", SUM, headers=key)
    alice.follow(first)
    again = alice.post("/api/policies/always/class/", SUM, headers=key | {"Prefer": "wait=10"})
    assert (again.status_code, again.json()) == (201, {"sum": 7})
    assert again.headers["Operation-Location"] == first.headers["Operation-Location"]
    assert Job.objects.count() == 1


def test_the_steps_of_a_job_have_their_times(alice, worker):
    """Contract 9: in their order, and ``expires_at`` as the setting says; the first attempt is 1."""
    accepted = alice.post("/api/gates/free/", {"name": "timed"})
    assert accepted.json()["attempt"] == 0
    running = alice.until(accepted, "running")
    assert (running["attempt"], running["finished_at"], running["expires_at"]) == (1, None, None)
    contract_tasks.gate("timed").set()
    alice.follow(accepted)
    done = alice.get(accepted.headers["Operation-Location"]).json()
    names = ("created_at", "started_at", "finished_at", "expires_at")
    times = {name: datetime.fromisoformat(done[name]) for name in names}
    assert list(times.values()) == sorted(set(times.values()))
    assert times["expires_at"] - times["finished_at"] == DEFAULTS["RESULT_LIFETIME"]
    assert done["started_at"] == running["started_at"]
    assert done["updated_at"] == done["finished_at"]
    assert done["attempt"] == 1


def test_rfc3339_whatever_the_time_zone(job, alice, settings):
    """Contract 9: UTC on the wire."""
    settings.TIME_ZONE = "Asia/Tokyo"
    moment = datetime.fromisoformat("2026-05-04T03:02:01.500000+00:00")
    assert (
        alice.get(url(job("running", created_at=moment))).json()["created_at"]
        == "2026-05-04T03:02:01.500000Z"
    )


def test_a_tag_is_of_one_form_and_one_host(job, alice):
    """Contract 11: a strong tag names one sequence of bytes; another form and another host's URLs are others."""
    running = job("running")
    path = url(running)
    tags = [
        alice.get(path, headers=headers).headers.get("ETag")
        for headers in (
            {},
            {"Accept": "*/*"},
            {"Host": "testserver"},
            {"Accept": "application/json; indent=4"},
        )
    ]
    assert tags[0] == tags[1]
    assert len(set(tags[1:])) == 3
    for page in ({"headers": {"Accept": "text/html"}}, {"params": {"format": "api"}}):
        assert "ETag" not in alice.get(path, **page).headers  # it has forms for its reader only
    for headers in ({"Host": "testserver"}, {"Accept": "text/html"}):
        assert alice.get(path, headers={"If-None-Match": tags[0]} | headers).status_code == 200


def test_urls_do_not_keep_the_form_of_one_answer(alice):
    """Contract 1: ``?format=`` is this request's; who follows a URL says what they want."""
    accepted = alice.post("/api/policies/always/class/?format=json", SUM)
    urls = [accepted.headers[name] for name in ("Location", "Operation-Location", "Content-Location", "Link")]
    urls += [value for name, value in accepted.json().items() if name.endswith("url")]
    assert len(urls) == 9
    assert not any("format" in url for url in urls)


def test_titles_differ_by_type(job, alice, settings):
    """Contract 15: one title per type, and another one for another type."""
    done, running = job("succeeded"), job("running")
    gone = job("failed", input=None)
    answers = [
        alice.get(url("nothing")),
        alice("PUT", url("nothing")),
        alice.get("/api/jobs/?status=x"),
        alice.get(url("other"), headers={"Accept": "application/xml"}),
        alice.post(url(done, "cancel/")),
        alice.post(url(running, "rerun/")),
        alice.post(url(gone, "rerun/")),
        alice.post(url(running, "cancel/"), headers={"If-Match": '"old"'}),
    ]
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"POLL_RATE": "1/min"}
    answers.append([alice.get(url(running)) for _ in range(2)][-1])
    codes = {answer.json()["code"]: answer.json()["title"] for answer in answers}
    assert len(set(codes.values())) == len(codes) == len(answers), codes


def test_a_job_fails_with_members_of_its_own(job, alice):
    """Contract 9, 15: ``error`` has the RFC's members and the problem's own."""
    failed = job("failed", problem=problem("card-declined", "No.", status=402, title="Declined", card="1234"))
    error = alice.get(url(failed)).json()["error"]
    assert list(error)[:6] == ["type", "title", "status", "detail", "code", "message"]
    assert (error["card"], error["type"]) == ("1234", DEFAULTS["PROBLEM_TYPE_BASE"] + "card-declined")


def test_put_is_whole_and_patch_is_not(alice):
    """Contract 2: what PUT must name and does not is 400 at once; with PATCH it stays as it is."""
    note = Note.objects.create(slug="a", title="A")
    path = f"/api/policies/always/notes/{note.pk}/"
    refused = alice("PUT", path, {"slug": "b"})
    assert (refused.status_code, set(refused.json())) == (400, {"title"})
    assert not Job.objects.exists()
    assert alice("PATCH", path, {"slug": "b"}).status_code == 202


@pytest.mark.parametrize("wish", ["respond-async", "wait=5", "return=minimal"])
def test_a_view_that_decides_to_answer_at_once(wish, alice):
    """Contract 4: what is answered at once honours none of it, and says so by silence."""
    response = alice.post("/api/policies/decide/class/", SUM, headers={"Prefer": wish, "X-Small": "1"})
    assert (response.status_code, response.json()) == (201, {"sum": 7})
    assert "Preference-Applied" not in response.headers
    assert "Prefer" in response.headers["Vary"]
    assert not Job.objects.exists()


@pytest.mark.parametrize("wish", ["wait=5", "return=minimal", "respond-async=no", ""])
def test_prefer_mode_needs_respond_async_itself(wish, alice):
    """Contract 4: nothing else asks for a 202 there."""
    response = alice.post("/api/policies/prefer/class/", SUM, headers={"Prefer": wish})
    assert response.status_code == 201
    assert "Preference-Applied" not in response.headers


def test_an_old_job_is_asked_for_less_often_but_is_told_the_same(job, alice):
    """Contract 3: M, R and a repeated accept say the same number at the same age."""
    running = job("running", created_at=timezone.now() - timedelta(minutes=5))
    answers = [
        alice.get(url(running)),
        alice.get(url(running, "result/")),
        alice.post(url(running, "cancel/")),
    ]
    assert [answer.headers["Retry-After"] for answer in answers] == ["5"] * 3
