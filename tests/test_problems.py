"""What a failure tells its reader: what was meant for clients, and nothing else."""

import re
from pathlib import Path

import pytest
from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError
from django.http import Http404
from django.test import override_settings
from rest_framework import exceptions as drf

from async_accept import encoding
from async_accept.conf import DEFAULTS
from async_accept.exceptions import (
    NOT_FINAL,
    URI,
    JobCanceled,
    JobFailed,
    ResultTooLarge,
    Unencodable,
    ViewFailed,
)
from async_accept.problems import DOCUMENTED, MEMBERS, TYPES, from_exception, is_unexpected, problem

SECRET = "password=hunter2 at /srv/app"


class ProjectError(Exception):
    status_code = 200
    detail = SECRET


# --- Types -----------------------------------------------------------------------------------------------


def test_each_type_is_told_in_full_sentences():
    for code, kind in TYPES.items():
        assert code == code.lower()
        assert not kind.title.endswith(".")
        assert kind.detail.endswith("."), code


def test_no_type_answers_what_clients_would_repeat():
    for code, kind in TYPES.items():
        assert 400 <= kind.status < 500, code
        assert kind.status not in (408, 429), code


def test_a_document_has_every_member_in_reading_order():
    for code in TYPES:
        document = problem(code)
        assert tuple(document) == MEMBERS
        assert document["type"].endswith(f"problems.html#{code}")
        assert document["message"] == document["detail"]


@override_settings(ASYNC_ACCEPT={"PROBLEM_TYPE_BASE": "https://shop.example/problems/"})
def test_the_types_documentation_can_be_the_projects_own():
    assert problem("lost")["type"] == "https://shop.example/problems/lost"


OWN = "https://shop.example/problems/"
THEIRS = "https://shop.example/errors#"


@pytest.mark.parametrize(
    ("bases", "own", "ours"),
    [
        ({}, "about:blank", DEFAULTS["PROBLEM_TYPE_BASE"] + "lost"),
        ({"PROBLEM_TYPE_BASE": OWN}, OWN + "card-declined", OWN + "lost"),
        (
            {"OWN_PROBLEM_TYPE_BASE": OWN},
            OWN + "card-declined",
            DEFAULTS["PROBLEM_TYPE_BASE"] + "lost",
        ),
        (
            {"OWN_PROBLEM_TYPE_BASE": OWN, "PROBLEM_TYPE_BASE": THEIRS},
            OWN + "card-declined",
            THEIRS + "lost",
        ),
    ],
)
def test_a_code_of_the_projects_own_never_leads_to_our_documentation(bases, own, ours):
    with override_settings(ASYNC_ACCEPT=bases):
        assert problem("card-declined")["type"] == own
        assert problem("lost")["type"] == ours
        assert from_exception(JobFailed("No.", code="card-declined", type="tag:a"))["type"] == "tag:a"
        assert from_exception(JobFailed("No."))["type"].endswith("failed")


@pytest.mark.parametrize(
    ("status", "title", "shown"),
    [(402, "", "Payment Required"), (402, "Declined", "Declined"), (499, "", TYPES["rejected"].title)],
)
def test_a_problem_without_a_type_has_the_title_of_its_status(status, title, shown):
    """RFC 9457, section 4.2.1."""
    document = problem("card-declined", "No.", status=status, title=title)
    assert (document["type"], document["title"]) == ("about:blank", shown)
    assert tuple(document) == MEMBERS


def test_every_code_that_leads_to_our_documentation_is_there():
    page = (Path(__file__).parent.parent / "docs" / "problems.rst").read_text()
    anchors = set(re.findall(r"^\.\. _problem-([\w-]+):$", page, re.MULTILINE))
    assert anchors == DOCUMENTED


# --- What is told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(SECRET),
        KeyError(SECRET),
        ValidationError(SECRET),
        IntegrityError(SECRET),
        ProjectError(SECRET),
        SystemExit(SECRET),
        ExceptionGroup(SECRET, [ValueError(SECRET)]),
        JobCanceled(SECRET),
        Unencodable(SECRET),
        ResultTooLarge(SECRET),
        Http404(SECRET),
        PermissionDenied(SECRET),
        SoftTimeLimitExceeded(SECRET),
        TimeLimitExceeded(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_message_of_an_exception_that_was_not_meant_for_clients_is_told(error):
    assert "hunter2" not in encoding.dumps(from_exception(error))


def test_an_unknown_exception_leaves_a_reference_of_its_own():
    one, two = from_exception(RuntimeError()), from_exception(RuntimeError())
    assert is_unexpected(one)
    assert one["reference"] != two["reference"]
    assert {**one, "reference": ""} == {**two, "reference": ""}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobCanceled("stop"), "canceled"),
        (SoftTimeLimitExceeded(), "time-limit"),
        (TimeLimitExceeded(1), "time-limit"),
        (Unencodable("nan"), "result-unencodable"),
        (ResultTooLarge("big"), "result-too-large"),
        (RuntimeError(), "failed"),
        (Http404(), "rejected"),
    ],
)
def test_each_cause_has_its_type(error, code):
    assert from_exception(error)["code"] == code


def test_job_failed_tells_all_that_it_was_given():
    error = JobFailed("Card declined.", code="card-declined", status=422, title="Declined", extra={"card": 7})
    document = from_exception(error)
    assert not is_unexpected(document)
    assert document == {
        "type": problem("card-declined")["type"],
        "title": "Declined",
        "status": 422,
        "detail": "Card declined.",
        "code": "card-declined",
        "message": "Card declined.",
        "card": 7,
    }


def test_job_failed_refuses_a_status_that_clients_would_repeat():
    for status in (200, 302, 399, *NOT_FINAL, 500, 503):
        with pytest.raises(ValueError, match="clients would repeat"):
            JobFailed("No.", status=status)


def test_job_failed_may_name_its_own_type():
    """It stands first, whatever else was given."""
    for uri in (
        "https://shop.example/problems/declined",
        "urn:shop:declined",
        "about:blank",
        "tag:a,2026:b#c",
    ):
        document = from_exception(JobFailed("No.", code="card-declined", type=uri, extra={"card": 7}))
        assert next(iter(document.items())) == ("type", uri)
        assert (document["code"], document["card"]) == ("card-declined", 7)


def test_job_failed_refuses_a_type_that_is_no_uri():
    for uri in ("card-declined", "/problems", "https://a b", "http:\n", "x:", "https://é", "1a:b"):
        with pytest.raises(ValueError, match="absolute URI"):
            JobFailed("No.", type=uri)


def test_a_code_that_is_no_name_still_makes_a_uri():
    for code in ("card declined", "a\nb", "é", "\ud800"):
        assert URI.fullmatch(problem(code)["type"]), code


def test_job_failed_refuses_to_write_over_the_documents_own_members():
    for name in (*MEMBERS, "reference"):
        with pytest.raises(ValueError, match=name):
            JobFailed("No.", extra={name: "x"})


def test_field_errors_are_kept():
    document = from_exception(drf.ValidationError({"slug": ["Taken."]}))
    assert (document["status"], document["errors"]) == (400, {"slug": ["Taken."]})
    assert document["detail"] == "The input is not valid."


def test_a_single_detail_of_the_view_becomes_the_detail():
    document = from_exception(ViewFailed(403, {"detail": "Not yours."}))
    assert (document["status"], document["detail"]) == (403, "Not yours.")
    assert "errors" not in document


def test_a_views_status_stays_if_it_can_be_final():
    """Contract 10: else nobody repeats the read, or logs in anew for it; the status becomes a member."""
    for status in range(100, 600):
        document = from_exception(ViewFailed(status, None))
        final = 400 <= status < 500 and status not in NOT_FINAL
        assert document["status"] == (status if final else 409)
        if status >= 400:
            assert document.get("original_status") == (None if final else status)


def test_an_http_error_of_the_work_is_final():
    for error in (drf.Throttled(), drf.APIException("broken"), drf.NotAuthenticated()):
        assert from_exception(error)["status"] in (403, 409), error


# --- It can always be stored ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        JobFailed("a\0b", code="x\0", title="\ud800"),
        JobFailed("No.", extra={"x": object()}),
        JobFailed("No.", extra={"x": float("nan")}),
        ViewFailed(400, {"name": ["\0 is no choice."]}),
        ViewFailed(400, object()),
        drf.ValidationError("\ud800"),
    ],
)
def test_a_problem_can_be_stored_whatever_the_error_carries(error):
    document = encoding.loads(encoding.dumps(from_exception(error)))
    assert tuple(document) == MEMBERS
    assert not is_unexpected(document)


def test_text_that_cannot_be_stored_is_mended():
    assert from_exception(JobFailed("a\0b"))["detail"] == "ab"


@override_settings(ASYNC_ACCEPT={"MAX_RESULT_BYTES": 1000})
def test_members_that_are_too_large_are_left_out():
    document = from_exception(ViewFailed(400, {"name": ["x" * 2000]}))
    assert (document["status"], "errors" in document) == (400, False)
