"""What a job leaves: the value and the final state, together or not at all."""

from io import BytesIO

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.signals import request_finished
from django.db import connection, transaction
from django.http import FileResponse, HttpResponse, JsonResponse
from django.test import override_settings
from django_celery_results.backends import DatabaseBackend
from django_celery_results.models import TaskResult
from rest_framework import serializers
from rest_framework.response import Response

from async_accept.db.updates import Upsert
from async_accept.exceptions import ResultTooLarge, Unencodable, ViewFailed
from async_accept.jobs import results
from async_accept.jobs.results import Result, encode, fail, load, read, succeed
from async_accept.models import Job
from async_accept.problems import problem
from async_accept.testing import make_job
from tests.testapp import tasks
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db


def running():
    return make_job(tasks.add, state="running", worker="worker@host")


def stored(job):
    return TaskResult.objects.get(task_id=str(job.pk))


# --- Results -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, Result(204, {}, None, None)),
        ({"x": 1}, Result(200, {}, '{"x":1}')),
        (Response({"x": 1}, status=201), Result(201, {}, '{"x":1}')),
        (Response(status=204), Result(204, {}, None, None)),
        (Response(), Result(204, {}, None, None)),
        (Response({"x": 1}, status=202), Result(200, {}, '{"x":1}')),
        (Response({"x": 1}, status=204), Result(204, {}, None)),
        (Response([], headers={"Location": "/x/"}), Result(200, {"Location": "/x/"}, "[]")),
        (HttpResponse("a", content_type="text/csv"), Result(200, {}, b"a", "text/csv")),
        (HttpResponse(), Result(200, {}, None, "text/html; charset=utf-8")),
        (HttpResponse(status=202), Result(204, {}, None, None)),
        (HttpResponse(b"\xff", content_type="a/b"), Result(200, {}, b"\xff", "a/b")),
        (HttpResponse("{", content_type="application/json"), Result(200, {}, b"{", "application/json")),
        (HttpResponse("[1 ]", content_type="a/b+json"), Result(200, {}, "[1 ]", "a/b+json")),
        (JsonResponse({"x": 1}, status=201), Result(201, {}, '{"x": 1}')),
    ],
)
def test_what_the_work_returns_becomes_a_result(value, expected):
    assert encode(value) == expected


class NoteSerializer(serializers.ModelSerializer):
    class Meta:
        model = Note
        fields = ("slug", "title")


def told(instance, status=201, **options):
    return encode(Response(NoteSerializer(instance, **options).data, status=status))


def test_a_creation_tells_what_it_has_created():
    note = Note.objects.create(slug="a", title="A")
    assert told(note).created == note
    assert told(note, status=200).created is None
    assert told([note], many=True).created is None
    assert told(Note(slug="b", title="not saved")).created is None
    assert told(Note(pk="x" * 256, slug="b", title="too long")).created is None


def test_what_was_created_is_the_object_of_a_job_that_has_none():
    note, other = (Note.objects.create(slug=slug, title="A") for slug in "ab")
    job = running()
    succeed(job, told(note))
    job.refresh_from_db()
    assert (job.content_object, job.object_created) == (note, True)
    assert job.response == {
        "status": 201,
        "headers": {},
        "content_type": "application/json",
        "kept": "json",
    }
    job = make_job(tasks.add, state="running", content_object=other)
    succeed(job, told(note))
    job.refresh_from_db()
    assert (job.content_object, job.object_created) == (other, False)


def test_the_object_that_the_work_has_set_stays():
    note = Note.objects.create(slug="a", title="A")
    job = running()
    Job.objects.filter(pk=job.pk).update(
        object_type=ContentType.objects.get_for_model(Note), object_id=str(note.pk)
    )
    succeed(job, encode(1))
    job.refresh_from_db()
    assert job.content_object == note


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Set-Cookie",
            "Cache-Control",
            "Vary",
            "content-length",
            "Date",
            "Allow",
            "Connection",
            "Keep-Alive",
        ),
        *("Transfer-Encoding", "Retry-After", "Age", "Server", "WWW-Authenticate", "Expires", "Via"),
        *("Preference-Applied", "Proxy-Authenticate", "Trailer", "Upgrade"),
    ],
)
def test_headers_of_one_transfer_are_not_kept(name):
    """Contract 13."""
    assert encode(Response({}, headers={name: "x", "ETag": '"1"'})).headers == {"ETag": '"1"'}


def test_headers_that_matter_are_kept():
    """Contract 13."""
    headers = {
        "Location": "/x/",
        "Content-Disposition": "attachment",
        "Link": "</y/>; rel=next",
        "Content-Language": "de",
        "Last-Modified": "Wed, 21 Oct 2026 07:28:00 GMT",
        "X-Total": "7",
    }
    assert encode(Response({}, headers=headers)).headers == headers


def test_a_reason_phrase_of_its_own_is_kept():
    assert encode(HttpResponse("x", status=299, reason="Fine By Me")).reason == "Fine By Me"
    assert encode(HttpResponse("x", status=202, reason="Queued")).reason is None
    for response in (HttpResponse(status=299), HttpResponse(status=201), Response([], status=203)):
        assert encode(response).reason is None


@override_settings(ASYNC_ACCEPT={"MAX_RESULT_BYTES": 100_000, "MAX_RESULT_FILE_BYTES": 300_000})
def test_of_a_stream_no_more_is_read_than_can_be_kept():
    """Contract 13: its file is closed either way."""
    file = BytesIO(b"x" * 500_000)
    response = FileResponse(file)
    with pytest.raises(ResultTooLarge):
        encode(response)
    results.close(response)
    assert file.closed


class Held(HttpResponse):
    def close(self):
        super().close()
        raise KeyError("s3cret")


@pytest.mark.parametrize("value", [Held("x"), FileResponse(BytesIO(b"x")), Response([])])
def test_a_response_is_closed_and_no_request_has_finished(value, caplog):
    heard, closed = [], []

    def hear(**kwargs):
        heard.append(kwargs)

    value._resource_closers.append(lambda: closed.append(1))
    kind = type(value)
    request_finished.connect(hear)
    try:
        results.close(value)
    finally:
        request_finished.disconnect(hear)
    assert (heard, closed, value.closed, isinstance(value, kind)) == ([], [1], True, True)
    assert ("A Held could not be closed: KeyError" in caplog.text) == (kind is Held)
    assert "s3cret" not in caplog.text


def test_what_is_no_response_is_not_closed():
    for value in (None, 1, BytesIO()):
        results.close(value)


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_error_of_the_view_is_no_result(status):
    with pytest.raises(ViewFailed) as caught:
        encode(Response({"detail": "No."}, status=status))
    assert (caught.value.status, caught.value.data) == (status, {"detail": "No."})


@override_settings(ASYNC_ACCEPT={"MAX_RESULT_BYTES": 4})
def test_a_result_is_measured_in_bytes():
    assert encode("ä").body == '"ä"'
    with pytest.raises(ResultTooLarge):
        encode("ää")


def test_a_value_without_a_json_form_is_no_result():
    with pytest.raises(Unencodable):
        encode(object())


# --- Ends ----------------------------------------------------------------------------------------------------


def test_success_stores_the_value_and_ends_the_job():
    job = running()
    assert succeed(job, Result(201, {"Location": "/x/"}, '{"x":1}'))
    row = stored(job)
    assert (row.status, row.result, row.task_name) == ("SUCCESS", '{"x":1}', "tests.testapp.tasks.add")
    assert (row.worker, row.traceback, row.date_started) == ("worker@host", None, job.started_at)
    assert Job.objects.get().response["headers"] == {"Location": "/x/"}
    assert read(job) == '{"x":1}'
    assert load(job) == Result(201, {"Location": "/x/"}, '{"x":1}')


def test_failure_stores_the_traceback_and_ends_the_job():
    job = running()
    assert fail(job, problem("failed"), KeyError("hunter2"), "Traceback …")
    row = stored(job)
    assert (row.status, row.traceback) == ("FAILURE", "Traceback …")
    assert "hunter2" not in row.result
    assert Job.objects.get().problem["code"] == "failed"


def test_a_failure_reads_as_celery_wrote_it():
    """So that other readers of that table can read it, too."""
    job = running()
    fail(job, problem("failed"), KeyError("hunter2"), None)
    meta = tasks.add.app.backend.get_task_meta(str(job.pk))
    assert meta["status"] == "FAILURE"
    assert isinstance(meta["result"], KeyError)


@pytest.mark.parametrize(
    "end",
    [
        lambda job: succeed(job, Result(200, {}, "1")),
        lambda job: fail(job, problem("failed"), KeyError(), None),
    ],
    ids=["success", "failure"],
)
def test_an_attempt_that_lost_its_job_stores_nothing(end):
    job = running()
    Job.objects.get().lose("lease")
    assert not end(job)
    assert not TaskResult.objects.exists()


@pytest.mark.parametrize(
    "end",
    [
        lambda job: succeed(job, Result(200, {}, "1")),
        lambda job: fail(job, problem("failed"), KeyError(), None),
    ],
    ids=["success", "failure"],
)
def test_an_end_is_one_statement_or_two(end, django_assert_num_queries):
    job = running()
    with django_assert_num_queries(1 if connection.vendor == "postgresql" else 2):
        end(job)


def test_a_value_that_cannot_be_stored_leaves_the_job_running(monkeypatch):
    def full(*args):
        raise RuntimeError("disk full")

    job = running()
    monkeypatch.setattr(Upsert, "params", full)
    with pytest.raises(RuntimeError), transaction.atomic():
        succeed(job, Result(200, {}, "1"))
    assert Job.objects.get().state == "running"


def test_an_earlier_row_of_the_same_id_is_written_over():
    job = running()
    TaskResult.objects.create(
        task_id=str(job.pk), status="PENDING", result="old", task_name="other", content_type="x/y"
    )
    succeed(job, Result(200, {}, "1"))
    row = stored(job)
    assert (row.status, row.result, read(job)) == ("SUCCESS", "1", "1")
    assert (row.task_name, row.content_type) == ("tests.testapp.tasks.add", "application/json")


def test_what_others_wrote_over_a_result_is_not_taken_for_it():
    """As a worker does that does not know the task, or a message with the job's id that is none of ours."""
    job = running()
    succeed(job, Result(200, {}, "1"))
    backend = DatabaseBackend(tasks.add.app)
    backend.store_result(str(job.pk), {"forged": True}, "SUCCESS")
    assert stored(job).result == '{"forged": true}'
    with pytest.raises(TaskResult.DoesNotExist):
        read(job)


@pytest.mark.parametrize("traceback", ["a\0b", "a\ud800b", "x" * 100_000])
def test_any_traceback_can_be_stored(traceback):
    job = running()
    assert fail(job, problem("failed"), KeyError(), traceback)
    assert len(stored(job).traceback) <= results.TRACEBACK_CHARS


def test_a_long_traceback_keeps_its_end():
    job = running()
    fail(job, problem("failed"), KeyError(), "x" * 100_000 + "KeyError")
    assert stored(job).traceback.endswith("KeyError")


def test_a_result_that_is_gone_is_told():
    with pytest.raises(TaskResult.DoesNotExist):
        read(make_job())
