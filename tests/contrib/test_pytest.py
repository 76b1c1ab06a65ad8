"""The fixtures of the pytest plugin, in each kind of test."""

import pytest
import requests
from django.test import TestCase
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from async_accept.jobs.broker import Broker
from async_accept.models import Job

SUM = {"x": 1, "y": 2}


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch):
    monkeypatch.setattr(Broker, "_use", lambda *args: pytest.fail("The broker was asked."))


@pytest.fixture(params=[False, True], ids=["broker", "eager"])
def mode(request):
    if request.param:
        request.getfixturevalue("eager")


def check(post, accepted_jobs, run_accepted_jobs):
    """Accept a job, look at it, run it, and look again."""
    assert post().status_code == 202
    [job] = accepted_jobs(operation="sums.create")
    assert [each.state for each in run_accepted_jobs()] == ["succeeded"]
    assert (accepted_jobs(), Job.objects.get()) == ([], job)


def test_without_any_mark(mode, alices, accepted_jobs, run_accepted_jobs):
    check(lambda: alices.post("/api/sums/", SUM), accepted_jobs, run_accepted_jobs)


def test_with_transactions_that_commit(mode, transactional_db, alices, accepted_jobs, run_accepted_jobs):
    check(lambda: alices.post("/api/sums/", SUM), accepted_jobs, run_accepted_jobs)


def test_with_a_live_server(mode, live_server, alice, accepted_jobs, run_accepted_jobs):
    headers = {"Authorization": f"Token {Token.objects.create(user=alice)}"}

    def post():
        return requests.post(f"{live_server.url}/api/sums/", json=SUM, headers=headers, timeout=30)

    check(post, accepted_jobs, run_accepted_jobs)


class TestInTestCase(TestCase):
    @pytest.fixture(autouse=True)
    def _take(self, eager, accepted_jobs, run_accepted_jobs):
        self.fixtures = accepted_jobs, run_accepted_jobs

    def test_with_test_case(self):
        check(lambda: APIClient().post("/api/sums/", SUM), *self.fixtures)
