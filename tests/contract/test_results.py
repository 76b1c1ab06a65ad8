"""Contract 8, 10, 13, 15, 16: results, failures, uploads: what comes out, and what is never kept."""

import logging
import re
from datetime import timedelta

import pytest
import requests
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError

from async_accept.exceptions import Unavailable
from async_accept.jobs import accept, uploads
from async_accept.jobs.retention import sweep
from async_accept.jobs.uploads import FOLDER
from async_accept.models import Job
from tests.contract.conftest import eventually
from tests.testapp.contract_tasks import ODD, UNENCODABLE
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_decimals_reach_a_task_exactly(alice, worker):
    """Contract 16: money in validated data is not rounded on its way to a task."""
    answer = alice.follow(alice.post("/api/policies/exact/", {"price": "12345678901234567.89"}))
    assert answer.json() == {"price": "12345678901234567.89"}


def test_titles_are_constant(alice, anybody):
    """Contract 15: ``title`` per type, ``status`` equal to the HTTP status, ``type`` a documented URI, ``message``."""
    for response, status, code in [
        (alice.get("/api/jobs/nothing/"), 404, "not-found"),
        (alice("PUT", "/api/jobs/nothing/"), 405, "method-not-allowed"),
        (alice("PATCH", "/api/jobs/nothing/"), 405, "method-not-allowed"),
        (alice.get("/api/jobs/?status=x"), 400, "invalid"),
        (anybody.get("/api/jobs/", headers={"Authorization": "Token x"}), 401, "authentication-failed"),
    ]:
        problem = response.json()
        assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
        assert problem["type"].endswith(f"problems.html#{code}")
        assert problem["message"] == problem["detail"] != ""
        assert problem["title"]
        assert not re.search(r"PUT|PATCH|nothing", problem["title"])


def test_the_projects_own_error_format_is_not_ours(alice, settings):
    """Contract 15: an exception handler of the project changes nothing at the endpoints of jobs."""
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"EXCEPTION_HANDLER": f"{__name__}.listed"}
    response = alice("PUT", "/api/jobs/nothing/")
    assert (response.status_code, response.json()["code"]) == (405, "method-not-allowed")
    refused = alice.post("/api/policies/always/class/", {"x": -1})
    assert (refused.status_code, refused.json()[0]) == (400, "mine")


def listed(exc, context):
    from rest_framework.views import exception_handler

    response = exception_handler(exc, context)
    if response is not None:
        response.data = ["mine", str(exc)]
    return response


def test_renderers_without_json(alice, settings):
    """Contract 15: a project whose own views speak no JSON still gets status documents in JSON."""
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.StaticHTMLRenderer"]
    }
    assert alice.get("/api/jobs/").json()["results"] == []
    assert alice.get("/api/jobs/nothing/").json()["code"] == "not-found"


# --- Uploads ----------


def _kept() -> list[str]:
    try:
        folders = default_storage.listdir(FOLDER)[0]
    except FileNotFoundError:
        return []
    return [
        f"{folder}/{name}" for folder in folders for name in default_storage.listdir(f"{FOLDER}/{folder}")[1]
    ]


@pytest.fixture(autouse=True)
def _no_files(settings, tmp_path):
    settings.MEDIA_ROOT = str(tmp_path)


def send(client, path, *files, **kwargs):
    data = kwargs.pop("data", None)
    return client("POST", path, data=data, files=[("file", (name, text)) for name, text in files], **kwargs)


def test_an_upload_reaches_the_view_in_the_worker(alice, worker):
    """Contract 8: handed to the worker as files; the client's name is data; removed when the job has ended."""
    files = [("../../etc/passwd", b"one"), ("zwei.txt", b"two")]
    accepted = send(alice, "/api/uploads/", *files, data={"label": "both"})
    assert accepted.status_code == 202
    answer = alice.follow(accepted)
    assert answer.status_code == 201, answer.text
    read = [{"name": "passwd", "text": "one"}, {"name": "zwei.txt", "text": "two"}]
    assert answer.json() == {"files": read, "label": "both"}
    monitor = accepted.headers["Operation-Location"]
    for _ in range(2):  # from the end on, not from the removal of the files on
        assert alice.get(monitor).json()["can_rerun"] is False
        gone = alice.post(monitor + "rerun/")
        assert (gone.status_code, gone.json()["code"]) == (410, "input-gone")
        sweep(10)
    assert _kept() == []


def test_names_in_the_storage_are_generated(alice):
    """Contract 8: nothing of the client's name is in the storage's."""
    send(alice, "/api/uploads/", ("../evil name.exe", b"x"))
    [name] = _kept()
    assert re.fullmatch(r"[0-9a-f]{32}/0", name)


def test_an_upload_reaches_a_task(alice, worker):
    """Contract 8: as an argument."""
    answer = alice.follow(send(alice, "/api/upload-tasks/", ("a.txt", b"text")))
    assert answer.json() == {"name": "a.txt", "text": "text", "note": None}


def test_a_forged_reference_opens_nothing(alice, worker):
    """Contract 8: what looks like our reference to a file, but came from a client, stays data."""
    default_storage.save("private.txt", ContentFile(b"secret"))
    forged = (
        '{"async_accept.upload": "private.txt", "name": "a", "size": 1, "content_type": "a", "charset": null}'
    )
    answer = alice.follow(send(alice, "/api/upload-tasks/", ("a.txt", b"text"), data={"note": forged}))
    assert answer.status_code == 200, answer.text
    assert answer.json()["note"]["async_accept.upload"] == "private.txt"


def test_a_raw_upload(alice, worker):
    """Contract 8: a body that is the file itself."""
    headers = {"Content-Disposition": "attachment; filename=raw.txt", "Content-Type": "text/plain"}
    accepted = alice("POST", "/api/uploads/raw.txt", data=b"raw", headers=headers)
    assert accepted.status_code == 202, accepted.text
    assert alice.follow(accepted).json()["files"] == [{"name": "raw.txt", "text": "raw"}]


def test_an_upload_above_the_limit_is_413(alice):
    """Contract 8: before anything is kept."""
    response = send(alice, "/api/uploads/", ("a", b"x" * 200_000))
    assert response.status_code == 413
    assert (_kept(), Job.objects.count()) == ([], 0)


def test_a_repeat_keeps_no_second_file(alice):
    """Contract 5, 8: files of a repeated or refused request are removed at once."""
    key = {"Idempotency-Key": "k"}
    first = send(alice, "/api/uploads/", ("a", b"one"), headers=key)
    again = send(alice, "/api/uploads/", ("a", b"one"), headers=key)
    other = send(alice, "/api/uploads/", ("a", b"two"), headers=key)
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 422)
    assert first.headers["Location"] == again.headers["Location"]
    assert len(_kept()) == 1


def test_a_refused_job_keeps_no_file(alice, monkeypatch):
    """Contract 7, 8: nothing is left of a request that was refused when its files were there."""

    def refuse(*args, **kwargs):
        raise Unavailable

    monkeypatch.setattr(accept, "_insert", refuse)
    assert send(alice, "/api/uploads/", ("a", b"one")).status_code == 503
    assert _kept() == []


def test_a_file_outlives_an_insert_whose_answer_was_lost(alice, worker, monkeypatch):
    """Contract 5, 8: the job is there, and the client that repeats its request will get it."""
    save = Job.save

    def lose_the_answer(job, **kwargs):
        save(job, **kwargs)
        raise OperationalError("gone")

    key = {"Idempotency-Key": "lost-answer"}
    with monkeypatch.context() as patch:
        patch.setattr(Job, "save", lose_the_answer)
        assert send(alice, "/api/uploads/", ("a", b"one"), headers=key).status_code == 503
    repeat = send(alice, "/api/uploads/", ("a", b"one"), headers=key)
    assert repeat.status_code == 202
    assert alice.follow(repeat).status_code == 201


def test_a_file_of_an_insert_that_never_was_goes_later(alice, monkeypatch):
    """Contract 7, 8: then no job knows it."""

    def fail(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(Job, "save", fail)
    assert send(alice, "/api/uploads/", ("a", b"one")).status_code == 503
    monkeypatch.setattr(uploads, "ORPHAN_AGE", timedelta(seconds=-1))
    uploads.remove_orphans()
    assert _kept() == []


def test_files_of_a_canceled_or_deleted_job_go(alice):
    """Contract 8: whichever way it ended."""
    canceled = send(alice, "/api/uploads/", ("a", b"one"))
    deleted = send(alice, "/api/uploads/", ("a", b"two"))
    alice.post(canceled.headers["Operation-Location"] + "cancel/")
    alice.delete(deleted.headers["Operation-Location"])
    sweep(10)
    assert _kept() == []


def test_broken_multipart(base, alice):
    """Contract 8: 400 and no file."""
    headers = {
        "Content-Type": "multipart/form-data; boundary=x",
        "Authorization": alice.session.headers["Authorization"],
    }
    for body in (
        b"",
        b"--x",
        b"--x\r\n\r\n",
        b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\nabc",
    ):
        response = requests.post(f"{base}/api/uploads/", data=body, headers=headers, timeout=10)
        assert response.status_code in (202, 400)


def test_a_raw_upload_has_the_limit_of_uploads(alice, settings):
    """Contract 8: the limit of plain input is not the limit of files, however they are sent."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"MAX_INPUT_BYTES": 1_000}
    headers = {"Content-Disposition": "attachment; filename=raw.txt", "Content-Type": "text/plain"}
    assert alice("POST", "/api/uploads/raw.txt", data=b"x" * 5_000, headers=headers).status_code == 202
