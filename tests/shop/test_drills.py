from pathlib import Path

import pytest
from celery.exceptions import WorkerTerminate
from django.conf import settings as project_settings
from django.test import override_settings

from async_accept.models import Job
from async_accept.testing import run_accepted_jobs
from example_project.drills import tasks
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
        assert args == (tasks.os.getpid(), tasks.signal.SIGKILL)
        raise WorkerTerminate

    monkeypatch.setattr(tasks.os, "kill", kill)
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
