import hashlib
from pathlib import Path

import pytest
from celery.exceptions import WorkerTerminate
from django.conf import settings as project_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings

from async_accept.models import Job
from async_accept.testing import run_accepted_jobs
from example_project.drills import tasks, work
from example_project.drills.models import Effect

pytestmark = pytest.mark.urls("tests.shop.drill_urls")

URL = "/api/drills/"


def notes() -> list[list[str]]:
    file = Path(project_settings.EFFECTS_FILE)
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def drill(client, mode: str):
    response = client.post(URL, {"key": "k", "ms": 0, "mode": mode})
    assert response.status_code == 202
    (job,) = run_accepted_jobs(raises=False)
    return job, client.get(response["Location"])


@pytest.mark.parametrize(("path", "key"), [("", "mode"), ("replay/", "mode"), ("replay/", "\\ud800")])
def test_what_utf8_does_not_have_is_refused(client, path, key):
    """Contract 2: in a value that the error quotes; and in a name, which a replay would keep."""
    body = f'{{"key": "k", "ms": 0, "{key}": "\\ud800"}}'
    response = client.post(URL + path, body, content_type="application/json")
    assert response.status_code == 400
    assert response.content.decode()
    assert not Job.objects.exists()


def test_ok_has_one_effect_and_answers_what_it_was_asked(client):
    _, result = drill(client, "ok")
    assert result.data == {"key": "k", "ms": 0, "mode": "ok"}
    assert Effect.objects.filter(key="k").count() == 1
    assert [line[:2] + line[3:4] for line in notes()] == [["k", "begin", "1"], ["k", "end", "1"]]


@pytest.mark.parametrize("mode", ["raise", "unpicklable"])
def test_failure_has_no_effect_and_no_end(client, mode):
    job, result = drill(client, mode)
    assert (job.state, result.status_code) == ("failed", 409)
    assert "hunter2" not in result.content.decode()
    assert not Effect.objects.exists()
    assert [line[1] for line in notes()] == ["begin"]


@pytest.mark.parametrize("mode", ["unserializable", "nan", "nul", "big"])
def test_result_that_cannot_be_kept_takes_its_effect_back(client, mode):
    job, result = drill(client, mode)
    assert (job.state, result.status_code) == ("failed", 409)
    assert not Effect.objects.exists()


def test_retry_succeeds_at_the_third_attempt(client):
    job, _ = drill(client, "retry")
    assert (job.state, job.attempt) == ("succeeded", 3)
    assert [line[1] for line in notes()] == ["begin", "begin", "begin", "end"]
    assert Effect.objects.count() == 1


def test_exit_kills_its_process(client, monkeypatch):
    def kill(*args):
        assert args == (work.os.getpid(), work.signal.SIGKILL)
        raise WorkerTerminate

    monkeypatch.setattr(work.os, "kill", kill)
    with pytest.raises(WorkerTerminate):
        drill(client, "exit")
    assert not Effect.objects.exists()


def test_task_says_what_it_stands():
    assert (tasks.drill.retry_when_lost, tasks.drill.max_attempts) == (True, 5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": ""},
        {"key": "two words"},
        {"key": "k" * 201},
        {"ms": -1},
        {"ms": 600_001},
        {"mode": "other"},
    ],
)
def test_invalid_drill_is_refused(client, wrong):
    assert client.post(URL, {"key": "k", **wrong}).status_code == 400
    assert not Job.objects.exists()


@override_settings(EFFECTS_FILE="")
def test_without_a_file_nothing_is_noted(client):
    assert drill(client, "ok")[0].state == "succeeded"


def drill_at(client, path, mode, **more):
    data = {"key": "k", "ms": 0, "mode": mode, **more}
    response = client.post(f"{URL}{path}", data, format="multipart" if more else "json")
    assert response.status_code == 202
    (job,) = run_accepted_jobs(raises=False)
    return job, client.get(response["Location"])


@pytest.mark.parametrize(
    ("path", "mode", "status", "effects"),
    [
        ("plain/", "ok", 200, 1),
        ("plain/", "raise", 409, 1),
        ("plain/", "retry", 200, 3),
        ("once/", "ok", 200, 1),
        ("replay/", "ok", 201, 1),
        ("replay/", "raise", 409, 0),
        ("look/", "ok", 200, 0),
        ("look/", "refuse", 422, 0),
        ("", "refuse", 422, 0),
    ],
)
def test_kinds_of_work_differ_in_their_effects(client, path, mode, status, effects):
    job, result = drill_at(client, path, mode)
    assert result.status_code == status
    assert list(Effect.objects.values_list("job", flat=True)) == [job.pk] * effects


@pytest.mark.parametrize("content", [b"", b"bytes"])
def test_upload_returns_what_the_work_has_got(client, content, settings, tmp_path):
    settings.MEDIA_ROOT = str(tmp_path)
    _, result = drill_at(client, "upload/", "ok", file=SimpleUploadedFile("drill.bin", content))
    assert result.data == {"key": "k", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_newer_version_runs_what_the_older_one_has_accepted(client, settings):
    location = client.post(URL, {"key": "k", "ms": 0, "mode": "ok"})["Location"]
    settings.DRILLS_VERSION = 2
    run_accepted_jobs()
    assert client.get(location).data == {"key": "k", "ms": 0, "mode": "ok", "version": 2}


def test_older_version_does_not_know_the_input_of_the_newer_one(client, settings):
    settings.DRILLS_VERSION = 2
    client.post(URL, {"key": "k", "ms": 0, "mode": "ok"})
    settings.DRILLS_VERSION = 1
    (job,) = run_accepted_jobs(raises=False)
    assert job.state == "failed"
