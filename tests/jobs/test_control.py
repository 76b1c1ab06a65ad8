"""In a replay, what decides over the attempt passes by the project's handlers, and no bug is hidden by them."""

from functools import wraps

import pytest
from celery.exceptions import Ignore, Retry, SoftTimeLimitExceeded
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection
from django.http import Http404
from django.test import override_settings
from django.urls import include, path
from django_celery_results.models import TaskResult
from rest_framework.exceptions import APIException, NotFound
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.test import APIClient
from rest_framework.views import APIView

from async_accept.exceptions import JobFailed
from async_accept.jobs.attempt import current_attempt
from async_accept.jobs.publish import run_here
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.progress import checkpoint
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db

#: It stands in no source line whole.
SECRET = "".join(["hun", "ter", "2"])
deeds = {}


def answer_all(exc, context=None):
    """As a project's EXCEPTION_HANDLER that gives each error the same form."""
    status = getattr(exc, "status_code", 404 if isinstance(exc, Http404) else 500)
    return Response({"type": "server_error", "seen": type(exc).__name__}, status=status)


def caught(function):
    @wraps(function)
    def catch(self, request, *args, **kwargs):
        try:
            return function(self, request, *args, **kwargs)
        except Exception as error:
            return self.finalize_response(self.request, answer_all(error))

    return catch


class Base(AcceptMixin, APIView):
    permission_classes = ()
    accept_atomic = True

    def post(self, request):
        Note.objects.get_or_create(slug="a", title="a")
        return deeds["deed"]()


class Plain(Base):
    """Answers by the EXCEPTION_HANDLER of the settings."""


class OwnHandler(Base):
    def get_exception_handler(self):
        return answer_all


class OwnMethod(Base):
    def handle_exception(self, exc):
        return self.finalize_response(self.request, answer_all(exc))


class Around(Base):
    def dispatch(self, request, *args, **kwargs):
        try:
            return super().dispatch(request, *args, **kwargs)
        except Exception as error:
            return self.finalize_response(self.request, answer_all(error))


class Inside(Base):
    """Catches what its own handler raises; REST framework hears of nothing."""

    post = caught(Base.post)


VIEWS = (Plain, OwnHandler, OwnMethod, Around)


def decorated(view):
    """Return *view* with a decorator around its dispatch."""
    return type(
        f"Decorated{view.__name__}", (view,), {"dispatch": caught(view.dispatch), "__module__": __name__}
    )


VIEWS = (*VIEWS, decorated(Base))
urlpatterns = [path(f"{view.__name__}/", view.as_view()) for view in (*VIEWS, Inside)]
urlpatterns.append(path("jobs/", include("async_accept.urls")))


@pytest.fixture
def run(settings, monkeypatch):
    settings.ROOT_URLCONF = __name__
    framework = {**settings.REST_FRAMEWORK, "EXCEPTION_HANDLER": f"{__name__}.answer_all"}

    def post(view, deed, *, atomic=True):
        monkeypatch.setattr(view, "accept_atomic", atomic)
        deeds["deed"] = deed
        with override_settings(REST_FRAMEWORK=framework):
            assert api_settings.EXCEPTION_HANDLER is answer_all
            response = APIClient().post(f"/{view.__name__}/", {})
            assert response.status_code == 202, response.content
            job = Job.objects.get()
            Job.objects.update(retry_when_lost=True, max_attempts=3)
            run_here(job)
        job.refresh_from_db()
        return job

    return post


def throw(error):
    raise error


def stop(flag):
    setattr(current_attempt(), flag, True)
    checkpoint()


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
@pytest.mark.parametrize(
    ("deed", "state", "told"),
    [
        (lambda: stop("canceling"), "canceled", "canceled"),
        (lambda: stop("taken"), "running", None),
        (lambda: throw(SoftTimeLimitExceeded()), "failed", "time-limit"),
        (lambda: throw(Retry(when=60)), "accepted", "retry"),
        (lambda: throw(Ignore()), "failed", "failed"),
        (lambda: throw(OperationalError("gone")), "accepted", "database: OperationalError"),
    ],
    ids=["cancel", "lost", "time limit", "retry", "ignore", "outage"],
)
def test_control_is_not_the_projects(run, view, deed, state, told):
    job = run(view, deed)
    reasons = [past["reason"] for past in job.history or []]
    assert (job.state, job.problem["code"] if job.problem else "".join(reasons) or None) == (state, told)
    assert not Note.objects.exists()


@pytest.mark.parametrize(
    "deed", [lambda: stop("canceling"), lambda: throw(KeyError())], ids=["cancel", "bug"]
)
def test_work_that_is_not_atomic_ends_in_the_same_way(run, deed):
    assert run(Around, deed, atomic=False).problem["code"] in ("canceled", "failed")
    assert Note.objects.exists()


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_a_bug_keeps_its_reference_and_its_traceback(run, view, caplog):
    """The handler has answered 500; no transaction was rolled back by it, so none is here."""
    job = run(view, lambda: throw(KeyError(SECRET)))
    assert (job.state, job.problem["code"], job.attempt) == ("failed", "failed", 1)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert job.problem["reference"] in record.message
    assert "throw(KeyError(SECRET))" in record.exc_text
    assert "throw(KeyError(SECRET))" in TaskResult.objects.get(task_id=job.pk).traceback
    assert SECRET not in f"{caplog.text} {job.problem}"


def test_what_a_handler_answered_in_a_request_stays(run):
    """It did not call ``set_rollback()``, so the row would have stayed in a request, too."""
    run(OwnHandler, lambda: throw(KeyError()))
    assert Note.objects.exists()


class Teapot(APIException):
    status_code = 418


class Away(APIException):
    status_code = 503


@pytest.mark.parametrize("view", [OwnHandler, Around], ids=lambda view: view.__name__)
@pytest.mark.parametrize(
    ("deed", "status", "original"),
    [
        (lambda: throw(Teapot()), 418, None),
        (lambda: throw(NotFound()), 404, None),
        (lambda: throw(Http404()), 404, None),
        (lambda: throw(Away()), 409, 503),
        (lambda: throw(PermissionDenied()), 409, 500),
        (lambda: Response({}, status=500), 409, 500),
    ],
    ids=["4xx", "drf", "django", "5xx", "permission", "own"],
)
def test_an_answer_that_was_meant_stays_the_answer(run, view, deed, status, original):
    job = run(view, deed)
    assert (job.problem["code"], job.problem["status"]) == ("rejected", status)
    assert job.problem.get("original_status") == original


def test_words_of_the_work_are_told_whatever_the_handler_says(run):
    job = run(OwnHandler, lambda: throw(JobFailed("No.", code="no", status=422)))
    assert (job.problem["code"], job.problem["status"]) == ("no", 422)


def test_a_cancel_that_the_view_itself_answers_is_still_one(run):
    assert run(Inside, lambda: stop("canceling")).state == "canceled"


def test_an_answer_of_the_view_itself_to_its_own_bug_is_its_answer(run):
    job = run(Inside, lambda: throw(KeyError()))
    assert (job.problem["code"], job.problem["original_status"]) == ("rejected", 500)


def test_a_success_after_a_cancel_was_caught_is_a_success(run):
    def deed():
        try:
            stop("canceling")
        except Exception:
            return Response({"done": True})

    assert run(Plain, deed).state == "succeeded"


def test_a_view_that_tries_again_is_judged_by_its_last_try(run):
    """A decorator that repeats the view: the error of the first time is no part of the answer."""
    tries = []

    def deed():
        tries.append(1)
        return throw(OperationalError()) if len(tries) == 1 else Response({}, status=500)

    class Again(Base):
        def dispatch(self, request, *args, **kwargs):
            try:
                return super().dispatch(request, *args, **kwargs)
            except OperationalError:
                return super().dispatch(request, *args, **kwargs)

    urlpatterns.append(path("Again/", Again.as_view()))
    job = run(Again, deed)
    assert (job.state, job.problem["original_status"]) == ("failed", 500)
    assert not connection.needs_rollback
