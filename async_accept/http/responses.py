"""The answers that every edge gives alike: the 202, the final answer, problem documents, and their headers."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.http import http_date
from django_celery_results.models import TaskResult
from rest_framework.response import Response

from .. import encoding
from ..conf import conf
from ..jobs import results
from ..jobs.watcher import watcher
from ..models import Job, database
from ..problems import problem
from .prefer import Preferences
from .serializers import JobSerializer, job_url

__all__ = [
    "accepted",
    "apply_preferences",
    "as_problem",
    "etag",
    "final",
    "name_media_type",
    "problem_response",
    "promised",
    "representation",
    "retry_after",
    "vary",
]

#: What decides an answer, beside the URL.
VARY = ("Accept", "Prefer", "Authorization", "Cookie")
#: What is written by a JSON renderer; in place of a stream that cannot be had, there is a problem.
JSON_MEDIA_TYPES = ("application/json", "text/event-stream")


def retry_after(job: Job) -> int:
    """Return how many seconds a client should wait: the job's own word, or longer the older the job is.

    Always a whole number of at least 1: 0 and fractions break clients (RFC 9110, section 10.2.3).
    """
    if job.retry_after:
        return max(1, math.ceil(job.retry_after))
    age = timezone.now() - job.created_at
    for younger_than, seconds in conf.RETRY_AFTER:
        if younger_than is None or age < timedelta(seconds=younger_than):
            return max(1, int(seconds))
    return 15


def accepted(job: Job, request: Any) -> Response:
    """Return the 202: the status document, and every header that a client may follow."""
    monitor, result = job_url(job, request), job_url(job, request, "result")
    headers = {
        "Location": result,
        "Operation-Location": monitor,
        "Content-Location": monitor,
        "Link": f'<{monitor}>; rel="monitor", <{result}>; rel="related"; title="result"',
        "Cache-Control": "no-store",
        "Retry-After": str(retry_after(job)),
    }
    response = Response(JobSerializer(job, context={"request": request}).data, status=202, headers=headers)
    # For renderers that show more than the document.
    response.job = job  # type: ignore[attr-defined]
    return response


def promised(job: Job, request: Any, wishes: Preferences) -> Response:
    """Return the 202 for a stored job, or its final answer if it ends within the time that the client waits.

    Raises:
        Http404: the job was deleted meanwhile.
    """
    seconds = min(wishes.wait_seconds or 0, int(conf.MAX_WAIT_SECONDS))
    waited = None
    # Inside the caller's transaction nobody else sees the job yet: it cannot end.
    if seconds and not transaction.get_connection(database()).in_atomic_block:
        ended = watcher.wait(job, seconds, for_end=True)
        waited = None if ended is None else seconds
        if ended:
            kept = Job.objects.filter(pk=job.pk, forgotten=False).first()
            if kept is None:
                raise Http404
            return apply_preferences(final(kept, request), wishes, waited)
    return apply_preferences(accepted(job, request), wishes, waited)


def final(job: Job, request: Any) -> Response:
    """Return the final answer of an ended job: the one that a synchronous call would have given.

    An expired result is a 410 problem; a failure is its own 4xx, else 409.
    """
    if job.is_expired:
        response = problem_response("result-expired")
    elif job.problem is not None:
        response = as_problem(Response(job.problem, status=job.problem["status"]))
    else:
        response = _stored(job)
    response["Operation-Location"] = job_url(job, request)
    response["Cache-Control"] = "private, no-cache"
    sunset(response, job)
    name_media_type(response, getattr(request, "accepted_renderer", None))
    return response


def _stored(job: Job) -> Response:
    stored = job.response or {"status": 200, "headers": {}}
    try:
        body = results.read(job)
    except TaskResult.DoesNotExist:
        return problem_response("result-expired")
    data = None if body is None else encoding.loads(body)
    if "content_type" in stored:
        raw: Any = HttpResponse(
            results.content(data), stored["content_type"], stored["status"], headers=stored["headers"]
        )
        return raw  # type: ignore[no-any-return] # no renderer has a say in it
    return Response(data, status=stored["status"], headers=stored["headers"])


def sunset(response: Response, job: Job) -> None:
    """Say until when the resource is there (RFC 8594)."""
    if job.expires_at is not None:
        response["Sunset"] = http_date(job.expires_at.timestamp())


def representation(renderer: Any, parameters: Mapping[str, Any] | None = None) -> str:
    """Return what stands for one representation in entity tags: what *renderer* writes, told these *parameters*."""
    told = sorted((parameters or {}).items())
    return " ".join(
        [str(renderer.media_type), str(renderer.format), *(f"{name}={value}" for name, value in told)]
    )


def etag(job: Job, request: Any, form: str) -> str:
    """Return the entity tag of the status document: strong, for this host and the representation *form*.

    Every transition and every write of progress moves ``updated_at``, so the tag needs no rendering.
    """
    basis = (
        job.pk,
        job.state,
        job.attempt,
        job.updated_at.isoformat(),
        job.rerun_as,
        form,
        request.build_absolute_uri("/"),
    )
    digest = hashlib.sha256(" ".join(map(str, basis)).encode()).hexdigest()
    return f'"{digest[:32]}"'


def problem_response(
    code: str, detail: str = "", headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """Return a problem document of the type *code* with its HTTP status."""
    document = problem(code, detail, **members)
    return as_problem(Response(document, status=document["status"], headers=dict(headers or {})))


def as_problem(response: Response) -> Response:
    """Mark *response* as a problem document; its media type is named when the renderer is known."""
    response.is_problem = True  # type: ignore[attr-defined]
    return response


def name_media_type(response: Any, renderer: Any) -> None:
    """Say ``application/problem+json`` where JSON tells of a problem."""
    if getattr(response, "is_problem", False) and getattr(renderer, "media_type", "") in JSON_MEDIA_TYPES:
        response.content_type = "application/problem+json"


def apply_preferences(response: Response, preferences: Preferences, waited: int | None = None) -> Response:
    """Honour what remains to be honoured, and say what was (RFC 7240, section 3): that, and only that."""
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


def vary(response: Any, names: Iterable[str] = VARY) -> None:
    """Say that the answer depends on these request headers."""
    patch_vary_headers(response, names)
