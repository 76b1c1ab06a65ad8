"""10.6 and 10.7: Celery's own ways, and the company's own bug in the log."""

import logging
from typing import Any

import pytest
from celery.contrib.django.task import DjangoTask
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.views import View

from async_accept.decorators import accepts
from async_accept.models import Job
from async_accept.testing import run_accepted_jobs
from tests.foreign.company import tasks
from tests.foreign.company.bases import CompanyTask

from .twins import Case, caller, send


def test_job_task_has_the_base_of_the_app() -> None:
    assert isinstance(tasks.send_mail, CompanyTask)
    assert isinstance(tasks.make_table, CompanyTask)
    assert tasks.make_table.cost_centre == "4711"


def test_job_task_delays_on_commit() -> None:
    assert isinstance(tasks.make_table, DjangoTask)
    assert hasattr(tasks.make_table, "delay_on_commit")


class DjangoView(View):
    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse()


@pytest.mark.parametrize("view", [DjangoView, DjangoView.as_view()], ids=["class", "as_view"])
def test_django_view_is_refused(view: Any) -> None:
    """At import, with the line that mends it."""
    with pytest.raises(ImproperlyConfigured, match="APIView"):
        accepts()(view)


def test_django_function_is_refused() -> None:
    """At import it looks like a function below ``@api_view``; but then the first request tells."""
    error: Exception | None = None
    try:
        accepts()(lambda request: HttpResponse())(HttpRequest())
    except Exception as raised:
        error = raised

    assert isinstance(error, ImproperlyConfigured)
    assert "@api_view" in str(error)


def run(path: str) -> Job:
    case = Case("", path, json={})
    assert send(case, caller(case)).status_code == 202
    [job] = run_accepted_jobs(raises=False)
    return job


def test_bug_is_found_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The log shows the company's own last line, and names its deepest frame."""
    job = run("/v1/tasks/stumble/")

    assert job.state == "failed"
    text = logged(caplog)
    assert "tests.foreign.company.tasks:" in text
    assert 'Audit.objects.get(text="there is none")' in text


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return the one error of the log, as it is written."""
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    return logging.Formatter("%(message)s").format(record)


def test_bug_of_a_view_is_found_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert run("/v1/tasks/buggy/").state == "failed"

    text = logged(caplog)
    assert "KeyError in tests.foreign.company.accepting:" in text
    assert 'return sum(data["missing"])' in text
    assert "async_accept/jobs/replay.py" not in text


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("flood/", "ResultTooLarge of flood.create in tests.foreign.company."),
        ("divide/", "Unencodable of divide.create in tests.foreign.company."),
    ],
)
def test_result_that_cannot_be_kept_is_an_error(
    caplog: pytest.LogCaptureFixture, path: str, told: str
) -> None:
    assert run(f"/v1/tasks/{path}").state == "failed"
    assert told in logged(caplog)


def test_type_of_the_company_own_code() -> None:
    """No anchor in our documentation that is not there."""
    problem: Any = run("/v1/tasks/decline/").problem

    assert problem["code"] == "card-declined"
    assert "django-async-accept" not in problem["type"]


@pytest.mark.parametrize("status", [103, 304])
def test_task_answers_no_final_status(status: int) -> None:
    assert run(f"/v1/tasks/status/{status}/").state == "failed"
