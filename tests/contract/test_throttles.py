"""Contract 19: polls have a throttle of their own."""

import re

import pytest

from async_accept.models import Job
from tests.contract.conftest import UNKNOWN, url

pytestmark = pytest.mark.django_db(transaction=True)


def test_over_eager_polls_are_429(job, alice, bob, configure):
    """Contract 19: a scope of its own, Retry-After of at least 1, and the job is untouched."""
    configure(POLL_RATE="3/min")
    running = job("running")
    before = Job.objects.values().get()
    answers = [alice.get(url(running, endpoint)) for endpoint in ("", "result/", "", "")]
    assert [answer.status_code for answer in answers] == [200, 202, 200, 429]
    refused = answers[-1]
    assert re.fullmatch(r"[1-9]\d*", refused.headers["Retry-After"])
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["code"] == "throttled"
    assert Job.objects.values().get() == before
    other = job("running")
    assert alice.get(url(other)).status_code == 200  # each job has its own
    assert bob.get(url(running)).status_code == 404  # and each caller


def test_an_over_eager_client_can_still_change_its_job(job, alice, configure):
    """Contract 19: cancel, rerun and DELETE are no polls."""
    configure(POLL_RATE="1/h")
    running = job("running")
    assert [alice.get(url(running)).status_code for _ in range(2)] == [200, 429]
    assert alice.post(url(running, "cancel/")).status_code == 202
    assert alice.post(url(running, "rerun/")).status_code == 409
    assert alice.delete(url(running)).status_code == 202


def test_another_spelling_of_an_id_is_no_other_job(job, alice, configure):
    """Contract 19: upper case is no way around the throttle."""
    configure(POLL_RATE="2/min")
    pk = str(job("running").pk)
    assert [alice.get(url(name)).status_code for name in (pk, pk, pk.upper())] == [200, 200, 429]


def test_a_throttle_tells_nothing_of_others_jobs(job, bob, alice, configure):
    """Contract 18, 19: polls of another's job and of an unknown one are throttled alike."""
    configure(POLL_RATE="2/min")
    for name in (job("running"), UNKNOWN):
        assert [bob.get(url(name)).status_code for _ in range(4)] == [404, 404, 429, 429]


def test_no_poll_rate(job, alice, configure):
    """Contract 19: None is no limit."""
    configure(POLL_RATE=None)
    path = url(job("running"))
    assert {alice.get(path).status_code for _ in range(30)} == {200}
