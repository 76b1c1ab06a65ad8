"""What Celery and other processes are told of an error."""

import pickle
from contextlib import suppress

import pytest
from celery.utils.serialization import get_pickleable_exception

from async_accept import tasks
from async_accept.exceptions import JobFailed, WorkEnded, WorkFailed
from async_accept.worker.errors import failure

SECRET = "hunter2-secret"


def raised(error: Exception) -> Exception:
    with suppress(type(error)):
        raise error
    return error


def test_an_unknown_error_is_told_without_its_message():
    failed = failure(raised(ValueError(SECRET)))
    assert str(failed).startswith("ValueError in tests.worker.test_errors:")
    assert failed.document["reference"] in str(failed)
    assert SECRET not in repr(failed)


@pytest.mark.parametrize("error", [JobFailed("No.", code="refused"), PermissionError(SECRET)])
def test_other_processes_get_no_more_than_the_summary(error):
    """Celery passes on the nearest base class that can be pickled."""
    failed = failure(raised(error))
    failed.__cause__ = error
    passed_on = get_pickleable_exception(failed)
    assert type(passed_on) in (WorkFailed, WorkEnded)
    assert str(passed_on) == str(failed)
    assert passed_on.__cause__ is None
    passed_on.error = error
    assert pickle.loads(pickle.dumps(passed_on)).error is None  # noqa: S301 our own


def test_an_end_that_was_wanted_is_no_error_for_the_log():
    failed = failure(raised(JobFailed("No.", code="refused")))
    assert isinstance(failed, tasks.JobTask.throws)
    assert str(failed) == "JobFailed, refused"
