"""Whether a task takes its input is known when the request is accepted."""

import pytest

from async_accept.models import Job
from async_accept.testing import follow

pytestmark = pytest.mark.django_db

URL = "/api/run/echo/"


def test_a_task_that_takes_any_argument_takes_any_name(alices):
    """Names that Celery and this package use for arguments of their own."""
    data = dict.fromkeys(
        ("args", "kwargs", "task_id", "task", "job", "event", "request", "attempt", "value", "", "a b"), 1
    )
    answer = follow(alices, alices.post(URL, data))
    assert (answer.status_code, answer.json()) == (200, data)


def test_a_name_that_no_task_can_take_is_refused_at_once(alices):
    answer = alices.post(URL, {"self": 1})
    assert (answer.status_code, "'self'" in answer.json()["detail"][0]) == (400, True)
    assert not Job.objects.exists()
