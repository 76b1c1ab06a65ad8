"""Results that are too large for the database are files, which go with their results."""

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.files.storage import storages
from django.db import DatabaseError, OperationalError, transaction
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django_celery_results.models import TaskResult

from async_accept.db.updates import Upsert
from async_accept.exceptions import ResultTooLarge, ViewFailed
from async_accept.jobs import files, folders, retention
from async_accept.jobs.results import encode, fail, load, succeed
from async_accept.models import Job
from async_accept.problems import from_exception
from async_accept.testing import make_job, run_job
from tests.testapp import tasks

pytestmark = pytest.mark.django_db

LARGE = b"\0large" * 100


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = str(tmp_path)
    settings.ASYNC_ACCEPT = {"MAX_RESULT_BYTES": 100, "MAX_RESULT_FILE_BYTES": 1_000}
    return tmp_path


def left(media: Path) -> list[Path]:
    return [path for path in (media / "async_accept").rglob("*") if path.is_file()]


def large(state="succeeded", **columns):
    response = HttpResponse(LARGE, content_type="image/png", headers={"X-Own": "yes"})
    return make_job(tasks.add, state=state, result=response, **columns)


def responses():
    yield HttpResponse(LARGE, content_type="image/png")
    yield StreamingHttpResponse([LARGE[:50], LARGE[50:]], content_type="image/png")
    file = open(Path(files.storage().location) / "x", "w+b")  # noqa: SIM115 the response closes it
    file.write(LARGE)
    file.seek(0)
    yield FileResponse(file, content_type="image/png")


@pytest.mark.parametrize("index", range(3))
def test_a_large_answer_is_a_file(media, index):
    response = list(responses())[index]
    job = make_job(tasks.add, state="running")
    assert succeed(job, encode(response))
    job.refresh_from_db()
    loaded = load(job)
    with loaded.body as body:
        assert (body.read(), body.size) == (LARGE, len(LARGE))
    assert loaded.content_type == "image/png"
    assert TaskResult.objects.get().result == f'{{"file":"{job.response["file"]}","size":600}}'


def test_a_client_gets_the_file(client, media):
    answer = client.get(f"/api/jobs/{large().pk}/result/", headers={"accept": "text/html"})
    assert (answer.status_code, b"".join(answer.streaming_content)) == (200, LARGE)
    assert (answer["Content-Type"], answer["Content-Length"], answer["X-Own"]) == ("image/png", "600", "yes")
    assert client.head(f"/api/jobs/{large().pk}/result/")["Content-Length"] == "600"


@pytest.mark.django_db(transaction=True)
def test_a_client_gets_the_file_on_asgi(async_client):
    job = large()

    async def read():
        answer = await async_client.get(f"/api/jobs/{job.pk}/result/")
        assert answer.is_async
        return b"".join([part async for part in answer.streaming_content])

    assert asyncio.run(read()) == LARGE


@pytest.mark.parametrize(
    "value",
    [
        ["x" * 100],
        HttpResponse('"' + "x" * 100 + '"', content_type="application/json"),
        HttpResponse('"' + "x" * 100 + '"', content_type="application/hal+json; charset=utf-8"),
        StreamingHttpResponse(['"', "x" * 100, '"'], content_type="application/json"),
        HttpResponse(b"x" * 1_001),
        StreamingHttpResponse([b"x" * 500] * 3),
    ],
    ids=["value", "json", "hal", "stream", "file", "streamed file"],
)
def test_what_is_larger_still_is_refused(media, value):
    """Contract 13: JSON is kept in the database only."""
    with pytest.raises(ResultTooLarge):
        encode(value)
    assert left(media) == []


def test_the_name_of_a_file_cannot_be_guessed(media):
    one, two = large(), large()
    names = [Path(job.response["file"]).name for job in (one, two)]
    assert len(set(names)) == 2
    assert all(len(name) == 32 for name in names)


def test_a_large_refusal_is_a_file_too(media, client):
    with pytest.raises(ViewFailed) as caught:
        encode(HttpResponse(LARGE, status=422, content_type="image/png"))
    job = make_job(tasks.add, state="running")
    assert fail(job, from_exception(caught.value), caught.value, None)
    answer = client.get(f"/api/jobs/{job.pk}/result/")
    assert (answer.status_code, b"".join(answer.streaming_content)) == (422, LARGE)
    assert len(left(media)) == 1


def test_a_refusal_that_cannot_be_kept_is_told_by_its_problem(client):
    with pytest.raises(ViewFailed) as caught:
        encode(HttpResponse(b"x" * 1_001, status=422))
    job = make_job(tasks.add, state="running")
    fail(job, from_exception(caught.value), caught.value, None)
    answer = client.get(f"/api/jobs/{job.pk}/result/")
    assert (answer.status_code, answer.json()["code"]) == (422, "rejected")


def test_a_test_reads_the_file_of_a_job():
    from celery import shared_task

    from async_accept.tasks import JobTask

    @shared_task(base=JobTask, name="tests.large_file")
    def paint():
        return HttpResponse(LARGE, content_type="image/png")

    assert run_job(paint).result == LARGE


# --- Removing --------------------------------------------------------------------------------------------


def test_a_file_goes_when_its_result_expires(media):
    past = timezone.now() - timedelta(days=2)
    kept, gone = large(), large(expires_at=past, finished_at=past, sweep_at=past)
    retention.sweep(10)
    assert left(media) == [media / kept.response["file"]]
    assert Job.objects.filter(pk=gone.pk).exists()


def test_a_file_stays_if_only_uploads_are_due(media):
    job = large(sweep_at=timezone.now() - timedelta(seconds=1))
    retention.sweep(10)
    assert left(media) == [media / job.response["file"]]


@pytest.mark.django_db(transaction=True)
def test_a_file_goes_with_its_job(media):
    retention.purge([large().pk])
    retention.forget(large())
    assert left(media) == []


def test_a_file_of_an_end_that_failed_goes(media, monkeypatch):
    def full(*args):
        raise DatabaseError("disk full")

    job = make_job(tasks.add, state="running")
    monkeypatch.setattr(Upsert, "params", full)
    with pytest.raises(DatabaseError), transaction.atomic():
        succeed(job, encode(HttpResponse(LARGE)))
    assert left(media) == []


def test_a_file_stays_if_the_end_may_be_stored(media, monkeypatch):
    """The database was away, so nobody knows."""

    def away(*args):
        raise OperationalError("gone")

    job = make_job(tasks.add, state="running")
    monkeypatch.setattr(Upsert, "params", away)
    with pytest.raises(OperationalError), transaction.atomic():
        succeed(job, encode(HttpResponse(LARGE)))
    assert len(left(media)) == 1


def test_old_files_that_no_job_names_are_orphans(media):
    job, other = large(), large()
    folder = media / folders.own(files.FOLDER) / job.pk.hex
    (folder / "lost").write_bytes(b"of an attempt that was lost")
    purged = media / folders.own(files.FOLDER) / ("0" * 32)
    purged.mkdir()
    (purged / "x").write_bytes(b"of a job that is gone")
    strange = media / folders.own(files.FOLDER) / "strange"
    strange.mkdir()
    assert files.remove_orphans() == 0  # they may belong to an end that is being stored
    for path in left(media):
        os.utime(path, (time.time() - 200_000,) * 2)
    assert files.remove_orphans() == 2
    assert sorted(left(media)) == sorted(media / each.response["file"] for each in (job, other))
    assert not purged.exists()


def test_without_any_file_there_is_nothing_to_remove():
    assert files.remove_orphans() == 0


def test_a_storage_that_cannot_list_is_skipped(monkeypatch):
    def listdir(path):
        raise NotImplementedError

    monkeypatch.setattr(storages["default"], "listdir", listdir)
    assert files.remove_orphans() == 0


def test_a_file_that_is_gone_is_an_expired_result(client, media, caplog):
    job = large()
    (media / job.response["file"]).unlink()
    answer = client.get(f"/api/jobs/{job.pk}/result/")
    assert (answer.status_code, answer.json()["code"]) == (410, "result-expired")
    assert "UPLOAD_STORAGE" in caplog.text


# --- For staff -------------------------------------------------------------------------------------------


@pytest.fixture
def boss(client):
    client.force_login(User.objects.create_superuser("boss"))
    return client


@pytest.mark.parametrize(
    ("response", "ending"),
    [
        (HttpResponse(LARGE, content_type="image/png"), ".png"),
        (HttpResponse(b"\xff", content_type="image/png"), ".png"),
        (HttpResponse("a;b", content_type="text/csv; charset=utf-8"), ".csv"),
        (HttpResponse("a", content_type="x/y"), ".bin"),
    ],
)
def test_staff_download_what_the_work_has_answered(boss, response, ending):
    content, kind = response.content, response["Content-Type"]
    job = make_job(tasks.add, state="succeeded", result=response)
    answer = boss.get(f"/admin/async_accept/job/{job.pk}/result/")
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    assert (body, answer["Content-Type"]) == (content, kind)
    assert answer["Content-Disposition"] == f'attachment; filename="job-{job.pk}{ending}"'
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_the_page_of_a_job_tells_what_it_has(boss):
    for response, shown in (
        (HttpResponse(LARGE, content_type="image/png"), "too large to be shown here"),
        (HttpResponse(b"\xff", content_type="image/png"), "image/png"),
        (HttpResponse("a;b", content_type="text/csv"), ">a;b</pre>"),
    ):
        job = make_job(tasks.add, state="succeeded", result=response)
        html = boss.get(f"/admin/async_accept/job/{job.pk}/change/").content.decode()
        assert shown in html
        assert "Download" in html
