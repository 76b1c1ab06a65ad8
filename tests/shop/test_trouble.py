import pytest

from async_accept.models import Job
from async_accept.testing import assert_accepted, run_accepted_jobs
from example_project.shop import trouble

pytestmark = pytest.mark.urls("example_project.urls")

URL = "/api/trouble/"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(trouble, "_STEP_SECONDS", 0)


def test_slow_job_gets_there(client, follow):
    assert follow(client.post(URL, {"kind": "slow"})).data == {"kind": "slow", "attempts": 1}


def test_stumbling_job_succeeds_at_its_second_attempt(client, follow):
    assert follow(client.post(URL, {"kind": "retry"})).data == {"kind": "retry", "attempts": 2}


def test_failure_tells_nothing_of_its_message(client):
    response = client.post(URL, {"kind": "fail"})
    (job,) = run_accepted_jobs(raises=False)
    assert job.state == "failed"
    assert b"hunter2" not in client.get(response["Location"]).content


def test_lost_attempt_leaves_without_an_outcome(client):
    job = assert_accepted(client.post(URL, {"kind": "lose"}))
    with pytest.raises(SystemExit):
        run_accepted_jobs()
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("running", 1)
    job.lose("lease")
    (job,) = run_accepted_jobs()
    assert (job.state, job.attempt) == ("succeeded", 2)


def test_job_that_loses_every_worker_is_lost(client):
    job = assert_accepted(client.post(URL, {"kind": "lose_all"}))
    for _ in range(2):
        with pytest.raises(SystemExit):
            run_accepted_jobs()
        job.refresh_from_db()
        job.lose("lease")
    job.refresh_from_db()
    assert (job.state, job.problem["code"]) == ("failed", "lost")


@pytest.mark.parametrize("data", [{}, {"kind": "other"}, []])
def test_unknown_trouble_is_refused(client, data):
    assert client.post(URL, data).status_code == 400
    assert not Job.objects.exists()


def test_an_error_may_quote_what_utf8_does_not_have(client):
    """Contract 2: a lone surrogate in a choice, which the error quotes, is 400, and no answer that cannot be sent."""
    response = client.post(URL, b'{"kind": "\\ud800"}', content_type="application/json")
    assert response.status_code == 400
    assert b'"?\\" is not a valid choice' in response.content


def test_outside_the_demo_there_is_no_trouble(client, settings):
    settings.TROUBLEMAKER = False
    assert client.post(URL, {"kind": "fail"}).status_code == 404
    assert not Job.objects.exists()
