"""Which jobs wait, and which job is behind a 202."""

from typing import Any
from urllib.parse import urlsplit

from ..http.links import job_id
from ..models import Job
from ..states import State

__all__ = ["accepted_jobs", "assert_accepted"]


def accepted_jobs(**conditions: Any) -> list[Job]:
    """Return the jobs that wait, the oldest first.

    Args:
        conditions: look-ups that choose the jobs, such as ``operation="orders.create"``.
    """
    return list(Job.objects.filter(state=State.ACCEPTED, **conditions).order_by("created_at", "id"))


def assert_accepted(response: Any, **expected: Any) -> Job:
    """Return the job behind a 202.

    Args:
        expected: columns of the job, such as ``operation="orders.create"``.

    Raises:
        AssertionError: the response is no 202 of this library, or the job is another than expected.
    """
    if response.status_code != 202:
        raise AssertionError(f"Expected a 202, got {response.status_code}: {_shown(response)}")
    monitor = response.headers.get("Operation-Location", "")
    pk = job_id(urlsplit(monitor).path.rstrip("/").rpartition("/")[2])  # a version may stand in its query
    if pk is None:
        what = f"Its Operation-Location is {monitor}" if monitor else "It has no Operation-Location"
        raise AssertionError(f"This 202 is none of ours. {what}: {_shown(response)}")
    job = Job.objects.filter(pk=pk).first()
    if job is None:
        stored = ", ".join(map(str, Job.objects.all()[:5])) or "none at all"
        raise AssertionError(f"The 202 names job {pk}, which is not stored; stored are {stored}.")
    wrong = [
        f"{name} is {getattr(job, name)!r}, not {value!r}"
        for name, value in expected.items()
        if getattr(job, name) != value
    ]
    if wrong:
        raise AssertionError(f"Job {job}: {'; '.join(wrong)}.")
    return job


def _shown(response: Any) -> str:
    content = b"" if getattr(response, "streaming", False) else response.content
    return content[:1000].decode(errors="replace") or "(no body)"
