"""Contract 5, 7, 8: uploads reach the worker as files, and nothing is kept of them afterwards."""

import errno
import os
import re
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.db import OperationalError
from rest_framework.test import APIClient

from async_accept.db.compiled import insert_if_free
from async_accept.exceptions import Unavailable
from async_accept.jobs import accept, folders, uploads
from async_accept.jobs.relay import Relay
from async_accept.jobs.retention import sweep
from async_accept.models import Job
from tests.contract.conftest import url

pytestmark = pytest.mark.django_db(transaction=True)

RAW = {"Content-Disposition": "attachment; filename=raw.txt", "Content-Type": "text/plain"}


def _kept() -> list[str]:
    ours = folders.own(uploads.FOLDER)
    try:
        jobs = default_storage.listdir(ours)[0]
    except FileNotFoundError:
        return []
    return [f"{job}/{name}" for job in jobs for name in default_storage.listdir(f"{ours}/{job}")[1]]


@pytest.fixture(autouse=True)
def _own_storage(settings, tmp_path):
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


def test_a_full_disk_is_503_and_leaves_nothing(alice, monkeypatch):
    """Contract 5, 8: the key stays free, and no part of a file is kept."""

    def save(self, name, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    headers = {"Idempotency-Key": "disk"}
    with monkeypatch.context() as full:
        full.setattr(type(default_storage._wrapped), "_save", save)
        refused = send(alice, "/api/uploads/", ("a.txt", b"text"), headers=headers)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert "space" not in refused.text
    assert not Job.objects.exists()
    assert _kept() == []
    assert send(alice, "/api/uploads/", ("a.txt", b"text"), headers=headers).status_code == 202


@pytest.fixture(params=["ENOSPC", "EDQUOT", "EIO"])
def temporary_files(request, settings, monkeypatch):
    """Let the temporary file fail into which Django streams a large upload; return what the client is to be told."""
    number = getattr(errno, request.param)

    def fail(self, raw_data, start):
        raise OSError(number, os.strerror(number))

    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0
    monkeypatch.setattr(TemporaryFileUploadHandler, "receive_data_chunk", fail)
    return 500 if request.param == "EIO" else 503


def test_a_full_disk_for_temporary_files_is_503(alice, anybody, temporary_files):
    """Contract 7, 8: in a view with a mixin, a raw body, a task's view and a function with @accepts."""
    answers = [
        send(alice, "/api/uploads/", ("a.txt", b"text")),
        alice("POST", "/api/uploads/raw.txt", data=b"raw", headers=RAW),
        send(alice, "/api/upload-tasks/", ("a.txt", b"text")),
        send(anybody, "/api/open-echo/", ("a.txt", b"text")),
    ]
    assert [answer.status_code for answer in answers] == [temporary_files] * 4
    if temporary_files == 503:
        assert {answer.headers["Retry-After"] for answer in answers} == {"5"}
    assert not Job.objects.exists()


def test_a_full_disk_for_temporary_files_at_the_url_of_a_job(job, django_user_model, temporary_files):
    """Contract 7: a session's form may have its CSRF token in the body, so the body is parsed."""
    client = APIClient(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(django_user_model.objects.get(username="alice"))
    client.cookies["csrftoken"] = "a" * 32
    form = {"file": ContentFile(b"text", "a.txt")}
    answer = client.post(url(job("running"), "cancel/"), form, format="multipart")
    assert (answer.status_code, "Retry-After" in answer) == (temporary_files, temporary_files == 503)
    assert answer["Content-Type"] == "application/problem+json"


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
    accepted = alice("POST", "/api/uploads/raw.txt", data=b"raw", headers=RAW)
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


def test_a_file_outlives_an_insert_whose_answer_was_lost(alice, worker, monkeypatch, configure):
    """Contract 5, 8: the job is there, and the client that repeats its request will get it."""

    def lose_the_answer(job, using):
        insert_if_free(job, using)
        raise OperationalError("gone")

    key = {"Idempotency-Key": "lost-answer"}
    with monkeypatch.context() as patch:
        patch.setattr("async_accept.jobs.accept.insert_if_free", lose_the_answer)
        assert send(alice, "/api/uploads/", ("a", b"one"), headers=key).status_code == 503
    configure(REPUBLISH_AFTER=timedelta())  # its message was not published: the relay does it
    repeat = send(alice, "/api/uploads/", ("a", b"one"), headers=key)
    assert repeat.status_code == 202
    Relay().tick()
    assert alice.follow(repeat).status_code == 201


def test_a_file_of_an_insert_that_never_was_goes_later(alice, monkeypatch):
    """Contract 7, 8: then no job knows it."""

    def fail(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr("async_accept.jobs.accept.insert", fail)
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


def test_broken_multipart(alice):
    """Contract 8: 400, or a job for what could be read of it; never a 500."""
    for body in (
        b"",
        b"--x",
        b"--x\r\n\r\n",
        b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\nabc",
    ):
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        assert alice("POST", "/api/uploads/", data=body, headers=headers).status_code in (202, 400), body


def test_a_raw_upload_has_the_limit_of_uploads(alice, configure):
    """Contract 8: the limit of plain input is not the limit of files, however they are sent."""
    configure(MAX_INPUT_BYTES=1_000)
    assert alice("POST", "/api/uploads/raw.txt", data=b"x" * 5_000, headers=RAW).status_code == 202
