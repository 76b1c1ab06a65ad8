"""The responses to an accepted request: the 202, and the result once the job has ended."""

from typing import Any

from django.http import Http404, HttpResponse
from django_celery_results.models import TaskResult
from rest_framework.response import Response

from .. import encoding
from ..conf import conf
from ..jobs import results
from ..jobs.watcher import watcher
from ..models import Job
from .errors import ProblemResponse, problem_response
from .monitor import JobSerializer, add_sunset, job_url, retry_after
from .prefer import Preferences
from .transactions import commit_early

__all__ = ["VARY", "accepted", "promised", "result_response"]

#: The request headers that a response depends on, for its ``Vary``.
VARY = ("Accept", "Prefer", "Authorization", "Cookie")


def promised(job: Job, request: Any, preferences: Preferences) -> Response:
    """Return the 202 for a stored job; or its result, if the job ends while the client waits (``Prefer: wait``).

    Raises:
        Http404: the job was deleted meanwhile.
    """
    seconds = min(preferences.wait_seconds or 0, int(conf.MAX_WAIT_SECONDS))
    ended: bool | None = None  # it did not wait
    # Inside a transaction nobody else sees the job, so it cannot end.
    if seconds and commit_early(request):
        ended = watcher.wait(job, seconds, for_end=True)
    response = result_response(_read_again(job), request) if ended else accepted(job, request)
    return _apply(preferences, response, waited=None if ended is None else seconds)


def accepted(job: Job, request: Any) -> Response:
    """Return the 202: the status document, and every header that a client may follow."""
    monitor_url, result_url = job_url(job, request), job_url(job, request, "result")
    headers = {
        "Location": result_url,
        "Operation-Location": monitor_url,
        "Content-Location": monitor_url,
        "Link": f'<{monitor_url}>; rel="monitor", <{result_url}>; rel="related"; title="result"',
        "Cache-Control": "no-store",
        "Retry-After": str(retry_after(job)),
    }
    response = Response(JobSerializer(job, context={"request": request}).data, status=202, headers=headers)
    response.job = job  # type: ignore[attr-defined] # for renderers that show more than the document
    return response


def result_response(job: Job, request: Any) -> Response:
    """Return what the result URL answers once the job has ended: what a synchronous call would have answered.

    A failure is its own 4xx or a 409 problem. An expired result is a 410 problem.
    """
    if job.is_expired:
        response: Response = problem_response("result-expired")
    elif job.problem is not None:
        response = ProblemResponse(job.problem, status=job.problem["status"])
    else:
        response = _stored(job)
    response["Operation-Location"] = job_url(job, request)
    response["Cache-Control"] = "private, no-cache"
    add_sunset(response, job)
    return response


def _stored(job: Job) -> Response:
    stored = job.response or {"status": 200, "headers": {}}
    try:
        body = results.read(job)
    except TaskResult.DoesNotExist:
        return problem_response("result-expired")
    data = None if body is None else encoding.loads(body)
    if "content_type" in stored:
        # No renderer changes these bytes.
        raw: Any = HttpResponse(
            results.content(data), stored["content_type"], stored["status"], headers=stored["headers"]
        )
        return raw  # type: ignore[no-any-return]
    return Response(data, status=stored["status"], headers=stored["headers"])


def _read_again(job: Job) -> Job:
    found = Job.objects.filter(pk=job.pk, forgotten=False).first()
    if found is None:
        raise Http404
    return found


def _apply(preferences: Preferences, response: Response, *, waited: int | None) -> Response:
    """Honour ``return=minimal``, and name the preferences that were honoured (RFC 7240, section 3).

    Args:
        waited: how many seconds were granted; None: it did not wait.
    """
    applied = []
    if response.status_code == 202 and preferences.respond_async:
        applied.append("respond-async")
    if waited is not None:
        applied.append(f"wait={waited}")
    if response.status_code == 202 and preferences.minimal:
        response.data = None
        applied.append("return=minimal")
    if applied:
        response["Preference-Applied"] = ", ".join(applied)
    return response
