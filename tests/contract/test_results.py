"""Contract 10, 11, 13, 15, 16: GET of the result, in every state of its job."""

import logging
import re
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.urls import include, path
from django.utils import timezone
from django_celery_results.models import TaskResult
from rest_framework import exceptions as drf
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from async_accept.jobs.retention import sweep
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from tests import urls
from tests.contract.conftest import ACTIVE, ENDED, eventually, url
from tests.testapp.contract_tasks import ODD, UNENCODABLE
from tests.testapp.models import Note

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]


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


class ErrorView(AcceptMixin, APIView):
    """Raises the named error in the worker, or returns a response of that status."""

    permission_classes = (IsAuthenticated,)

    def post(self, request, kind):
        if kind.isdecimal():
            return Response(
                {"detail": "Too bad."}, status=int(kind), headers={"Retry-After": "3", "X-Own": "yes"}
            )
        raise ERRORS[kind][0]()


urlpatterns = [path("api/errors/<str:kind>/", ErrorView.as_view()), path("", include(urls))]


@pytest.mark.parametrize("state", ACTIVE)
def test_active_job(job, alice, state):
    """Contract 3, 13: 202 with the status document, Retry-After, and Location R."""
    running = job(state)
    response = alice.get(url(running, "result/"))
    assert response.status_code == 202
    assert response.headers["Location"] == f"{alice.base}{url(running, 'result/')}"
    assert response.headers["Operation-Location"] == f"{alice.base}{url(running)}"
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Cache-Control"] == "no-store"
    assert not {"Sunset", "Expires"} & set(response.headers)
    assert response.json()["status"] == state


def test_succeeded_job(alice, worker):
    """Contract 13: status, body, and the headers that matter."""
    answer = alice.follow(alice.post("/api/notes/", {"slug": "a", "title": "A", "price": "1.50"}))
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{alice.base}/api/notes/{answer.json()['id']}/"
    assert answer.json()["price"] == "1.50"


@pytest.mark.parametrize("expired", [False, True], ids=["kept", "expired"])
@pytest.mark.parametrize("state", ENDED)
def test_headers_of_an_ended_job(job, alice, state, expired):
    """Contract 11, 13: private, to be revalidated; where M is; until when it is kept. HEAD as GET."""
    done = job(state, is_expired=expired)
    expires_at = datetime.fromisoformat(alice.get(url(done)).json()["expires_at"])
    for method in ("GET", "HEAD"):
        headers = alice(method, url(done, "result/")).headers
        assert headers["Cache-Control"] == "private, no-cache"
        assert headers["Operation-Location"] == f"{alice.base}{url(done)}"
        assert parsedate_to_datetime(headers["Sunset"]) == expires_at.replace(microsecond=0)
        assert {"Accept", "Prefer", "Authorization", "Cookie"} <= set(re.split(r",\s*", headers["Vary"]))
        assert not {"Retry-After", "Expires", "Preference-Applied"} & set(headers)


@pytest.mark.parametrize(
    ("state", "expired", "status", "code"),
    [
        ("failed", False, 409, "failed"),
        ("canceled", False, 409, "canceled"),
        *((state, True, 410, "result-expired") for state in ENDED),
    ],
)
def test_problem(job, alice, state, expired, status, code):
    """Contract 10: a failed, canceled or expired job is a problem document."""
    response = alice.get(url(job(state, is_expired=expired), "result/"))
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["status"] == status
    assert response.headers["Content-Type"] == "application/problem+json"


def test_swept_jobs(job, alice):
    """Contract 10: 410 when the result is gone, 404 when the row is."""
    done = job("succeeded", is_expired=True, sweep_at=timezone.now() - timedelta(seconds=1))
    sweep(10)
    assert alice.get(url(done, "result/")).status_code == 410
    assert alice.get(url(done)).status_code == 200
    Job.objects.update(
        finished_at=timezone.now() - timedelta(days=60), sweep_at=timezone.now() - timedelta(seconds=1)
    )
    sweep(10)
    assert alice.get(url(done)).status_code == 404


def test_result_whose_row_celery_cleaned_up(job, alice):
    """Contract 13: gone too early is 410, not 500."""
    done = job("succeeded")
    TaskResult.objects.all().delete()
    assert alice.get(url(done, "result/")).status_code == 410


# --- Errors in the worker ----------


#: What REST framework's exception handler makes of those that are R's as they are.
OWN = {
    "invalid": {"x": ["Not this one."]},
    "forbidden": {"detail": "You do not have permission to perform this action."},
    "missing": {"detail": "Not found."},
    "conflict": {"detail": "Somebody else is at it."},
}


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
def test_an_error_that_the_view_returns_is_one_that_it_raises(status, final, alice, worker):
    """Contract 10: also where the view returns it, with a Retry-After of its own."""
    accepted = alice.post(f"/api/errors/{status}/", {})
    answer = alice.follow(accepted)
    error = alice.get(accepted.headers["Operation-Location"]).json()["error"]
    assert answer.status_code == error["status"] == final
    assert "Retry-After" not in answer.headers
    own = status == final
    assert answer.json() == ({"detail": "Too bad."} if own else error)
    assert answer.headers.get("X-Own") == ("yes" if own else None)


def test_unknown_exceptions_say_nothing(alice, worker, caplog):
    """Contract 15: one fixed sentence and a reference that is found in the log."""
    with caplog.at_level(logging.ERROR, logger="async_accept"):
        answer = alice.follow(alice.post("/api/run/crash/", {"message": "the password is 1234"}))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "failed")
    assert "1234" not in answer.text
    assert "Traceback" not in answer.text
    assert re.fullmatch(r"[0-9a-f]{12}", problem["reference"])
    eventually(lambda: problem["reference"] in caplog.text, "the reference in the log")


# --- Values ----------


@pytest.mark.parametrize("kind", ODD)
def test_values_are_rendered_as_drf_does(alice, worker, kind):
    """Contract 16: Decimal, UUID, dates, lazy text."""
    answer = alice.follow(alice.post("/api/contract-tasks/odd/", {"kind": kind}))
    if kind == "none":
        assert (answer.status_code, answer.text) in ((200, ""), (200, "null"), (204, ""))
    else:
        assert answer.status_code == (201 if kind == "created" else 200)
        assert answer.json() == ODD[kind][1]
    if kind == "created":
        assert answer.headers["Location"] == "/somewhere/"


@pytest.mark.parametrize("kind", [*UNENCODABLE, "large"])
def test_results_without_a_json_form_fail_the_job(alice, worker, kind):
    """Contract 13, 16: its own problem type, and the effects of the transaction are rolled back."""
    answer = alice.follow(alice.post("/api/contract-tasks/odd/", {"kind": kind, "slug": "effect"}))
    assert answer.status_code == 409
    assert answer.json()["code"] == ("result-too-large" if kind == "large" else "result-unencodable")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert not Note.objects.exists()


def test_decimals_reach_a_task_exactly(alice, worker):
    """Contract 16: money in validated data is not rounded on its way to a task."""
    answer = alice.follow(alice.post("/api/policies/exact/", {"price": "12345678901234567.89"}))
    assert answer.json() == {"price": "Decimal('12345678901234567.89')"}
