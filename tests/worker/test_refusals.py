"""What a task may pass to ``JobFailed``: each argument has a meaning, or the call is an error that fails the job."""

from decimal import Decimal
from http import HTTPStatus

import pytest
from celery import shared_task
from django.utils.functional import lazystr
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import APIException, ErrorDetail

from async_accept.exceptions import JobFailed, WorkEnded
from async_accept.jobs.publish import run_here
from async_accept.problems import TYPES, from_exception
from async_accept.tasks import JobTask
from async_accept.testing import make_job
from async_accept.worker.errors import failure

pytestmark = pytest.mark.django_db

deeds = {}


@shared_task(base=JobTask, retry_when_lost=True)
def refuse():
    deeds["deed"]()


class Unspeakable(str):
    def __str__(self):
        raise KeyError


class Broken(dict):
    def items(self):
        raise LookupError


def run(deed, owner=None):
    deeds["deed"] = deed
    job = make_job(refuse, owner=owner)
    run_here(job)
    job.refresh_from_db()
    return job


def fail(*args, **kwargs):
    raise JobFailed(*args, **kwargs)


def shown(job, client, browser):
    """Return the problem that the status monitor tells; the page of the job and the admin's show it, too."""
    monitor = f"/api/jobs/{job.pk}/"
    assert client.get(monitor, headers={"accept": "text/html"}).status_code == 200
    assert browser.get(f"/admin/async_accept/job/{job.pk}/change/").status_code == 200
    return client.get(monitor).json()["error"]


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        (KeyError("card"), "'card'"),
        (["too", "many"], "['too', 'many']"),
        ({"card": ["No."]}, "{'card': ['No.']}"),
        (lazystr("Lazy."), "Lazy."),
        (gettext_lazy("Job"), "Job"),
        (ErrorDetail("No.", code="no"), "No."),
        (b"Bytes.", "Bytes."),
        (b"\xff", "\ufffd"),
        (402, "402"),
        (None, TYPES["rejected"].detail),
        ("", TYPES["rejected"].detail),
        (Unspeakable("x"), "Unspeakable"),
        ("a\0b\ud800", "ab?"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_text_is_told_and_shown(alice, alices, boss, detail, told):
    job = run(lambda: fail(detail, title=detail, code=detail, status=402), alice)
    assert (job.state, job.attempt, job.problem["status"]) == ("failed", 1, 402)
    assert job.problem["detail"] == job.problem["message"] == told
    assert {type(job.problem[name]) for name in ("title", "code")} == {str}
    assert shown(job, alices, boss)["status"] == 402
    assert alices.get(f"/api/jobs/{job.pk}/result/").status_code == 402


@pytest.mark.parametrize("status", [402, HTTPStatus.PAYMENT_REQUIRED])
def test_a_status_may_be_any_whole_number(status):
    document = from_exception(JobFailed("No.", status=status))
    assert (document["status"], type(document["status"])) == (402, int)


@pytest.mark.parametrize(
    "given",
    [
        {"status": "402"},
        {"status": None},
        {"status": 402.0},
        {"status": Decimal(402)},
        {"status": True},
        {"status": [402]},
        {"status": 10**400},
        {"type": KeyError("card")},
        {"type": 7},
        {"extra": ["card"]},
        {"extra": "card"},
        {"extra": 7},
        {"extra": Broken(a=1)},
        {"extra": {lazystr("title"): 1}},
    ],
    ids=lambda given: "".join(f"{name}-{type(value).__name__}" for name, value in given.items()),
)
def test_an_error_of_the_call_fails_the_job_at_once(given, caplog):
    job = run(lambda: fail("No.", **given))
    assert (job.state, job.attempt, job.problem["code"]) == ("failed", 1, "failed")
    assert job.problem["reference"] in caplog.text


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({7: 8}, {"7": 8}),
        ({None: 8, lazystr("card"): 9}, {"": 8, "card": 9}),
        ({"errors": 5}, {"errors": 5}),
        ({"errors": [[["deep"]]]}, {"errors": [[["deep"]]]}),
        ({"instance": Unspeakable("x")}, {"instance": "x"}),
        ({"card": Broken(a=1)}, {}),
        ({"card": object()}, {}),
        ({"card": float("nan")}, {}),
        ({"card": "x" * 2_000_000}, {}),
        ({}, {}),
        (None, {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_extra_members_that_cannot_be_stored_cost_no_words(alice, alices, boss, extra, told):
    job = run(lambda: fail("No.", code="no", extra=extra), alice)
    known = ("type", "title", "status", "detail", "code", "message")
    assert (job.state, job.problem["detail"]) == ("failed", "No.")
    assert {name: value for name, value in job.problem.items() if name not in known} == told
    assert shown(job, alices, boss)["detail"] == "No."


class Careless(JobFailed):
    def __init__(self):
        pass


class Teapot(APIException):
    status_code = "teapot"


class Half(APIException):
    status_code = 404.5


class Mute(APIException):
    def __init__(self):
        pass


class Detailed(APIException):
    def __init__(self):
        self.detail = Broken(detail=1)


def changed():
    error = JobFailed("No.")
    error.status = "later"
    return error


@pytest.mark.parametrize(
    "error", [Careless, Teapot, Half, Mute, changed, Detailed], ids=lambda kind: kind.__name__
)
def test_an_error_whose_attributes_are_not_what_they_should_be_fails_the_job(error, alice, alices):
    def deed():
        raise error()

    job = run(deed, alice)
    assert (job.state, job.attempt) == ("failed", 1)
    assert 400 <= alices.get(f"/api/jobs/{job.pk}/result/").status_code < 500


def test_an_error_that_is_told_as_unknown_is_logged():
    failed = failure(Careless())
    assert not isinstance(failed, WorkEnded)
    assert failed.document["reference"] in str(failed)


def test_an_error_whose_cause_leads_back_to_it_has_a_place():
    one, two = KeyError(), ValueError()
    one.__cause__, two.__cause__ = two, one
    assert str(failure(one)).startswith("KeyError in no code of the project")


def test_a_long_chain_of_causes_is_cut_in_the_log(caplog):
    def deed():
        error = None
        for _ in range(3000):
            error, before = KeyError(), error
            error.__context__ = before
        raise error

    job = run(deed)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert job.problem["reference"] in record.message
    assert record.exc_text.count("KeyError") <= 100


def test_deeply_nested_groups_are_told(caplog):
    def deed():
        error = KeyError()
        for _ in range(3000):
            error = ExceptionGroup("", [error])
        raise error

    job = run(deed)
    assert (job.state, job.problem["code"]) == ("failed", "failed")
    assert job.problem["reference"] in caplog.text
