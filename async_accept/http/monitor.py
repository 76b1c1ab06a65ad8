"""The status monitor: the status document, and the headers and the entity tag that come with it."""

import hashlib
import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http.request import MediaType
from django.utils.http import http_date
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.serializer_helpers import ReturnDict

from ..conf import conf
from ..db.clock import aware
from ..models import Job, database_now
from ..states import State
from .links import job_url

__all__ = [
    "JobSerializer",
    "ProblemSerializer",
    "ProgressSerializer",
    "etag",
    "etags",
    "for_renderer",
    "monitor",
    "monitor_headers",
    "representation",
    "retry_after",
    "rfc3339",
    "status_document",
    "sunset",
]


def monitor(job: Job, request: Request, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return the status document with its headers: 200, or 202 for a job that is asked to stop.

    Args:
        headers: of ``monitor_headers()``, if they are known.
    """
    if headers is None:
        headers = monitor_headers(job, representation(request))
    if status == 202:
        headers = {**headers, "Location": job_url(job, request, "result")}
    document = for_renderer(request.accepted_renderer, status_document(job, request), job, request)
    response = Response(document, status=status, headers=headers)
    response.job = job  # type: ignore[attr-defined] # for renderers that show more than the document
    return response


# --- Headers -----------------------------------------------------------------------------------------------


def retry_after(job: Job) -> int:
    """Return how many seconds a client should wait: what the job says, else more for an older job.

    Always a whole number of at least 1: 0 and fractions break clients (RFC 9110, section 10.2.3).
    """
    if job.retry_after:
        return max(1, math.ceil(job.retry_after))
    age = database_now() - job.created_at
    for younger_than, seconds in conf.RETRY_AFTER:
        if younger_than is None or age < timedelta(seconds=younger_than):
            return max(1, int(seconds))
    return 15


def sunset(job: Job) -> dict[str, str]:
    """Return the header that says when the resource will be gone, if that is known (RFC 8594)."""
    return {} if job.expires_at is None else {"Sunset": http_date(aware(job.expires_at).timestamp())}


def monitor_headers(job: Job, representation: str | None) -> dict[str, str]:
    """Return the headers of the status document, or of a 304 for it.

    Args:
        representation: of the request; None for a page, which has no entity tag.
    """
    headers = {"Cache-Control": "private, no-cache"}
    if representation is not None:
        headers["ETag"] = etag(job, representation)
    if job.is_active:
        headers["Retry-After"] = str(retry_after(job))
    return headers | sunset(job)


def representation(request: Request, renderer: Any = None) -> str | None:
    """Return a key that differs for each representation of a job: by renderer, by its parameters and by host.

    Args:
        renderer: one without parameters; None takes the one of this request, with the parameters of its ``Accept``.

    Returns:
        None if the request gets a page: that depends on the reader, the language, the templates and the forms' tokens
        as well.
    """
    words: list[str] = []
    if renderer is None:
        renderer, media_type = request.accepted_renderer, request.accepted_media_type
        if renderer.media_type == "text/html":
            return None
        if ";" in media_type:
            parameters: dict[str, Any] = MediaType(media_type).range_params
            words = [f"{name}={value}" for name, value in sorted(parameters.items())]
    name = type(renderer).__qualname__
    return " ".join(
        [renderer.media_type, str(renderer.format), name, *words, request.build_absolute_uri("/")]
    )


def etag(job: Job, representation: str) -> str:
    """Return the entity tag of the status document: strong, and different for each ``representation()``.

    Every transition and every write of progress moves ``updated_at``, so nothing needs to be rendered.
    """
    basis = (job.pk, job.state, job.attempt, job.updated_at.isoformat(), job.rerun_as, representation)
    return f'"{hashlib.sha256(" ".join(map(str, basis)).encode()).hexdigest()[:32]}"'


def etags(job: Job, request: Request, renderers: Iterable[Any]) -> set[str]:
    """Return the entity tag of the representation that *request* gets, and those of all *renderers*."""
    known = (representation(request, renderer) for renderer in (None, *renderers))
    return {etag(job, each) for each in known if each is not None}


# --- The document ------------------------------------------------------------------------------------------


def rfc3339(moment: datetime | None) -> str | None:
    """Return *moment* in UTC (RFC 3339); None stays None."""
    if moment is None:
        return None
    return aware(moment).astimezone(UTC).isoformat().replace("+00:00", "Z")


class ProgressSerializer(serializers.Serializer[Any]):
    """How far a job is."""

    current = serializers.FloatField(help_text="How much is done, in units.")
    total = serializers.FloatField(allow_null=True, help_text="How much there is; null if nobody knows.")
    unit = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    percent = serializers.FloatField(allow_null=True, help_text="Of the whole job, 0 to 100.")
    stage = serializers.CharField(allow_blank=True)


class ProblemSerializer(serializers.Serializer[Any]):
    """A problem document (RFC 9457)."""

    type = serializers.URLField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class JobSerializer(serializers.Serializer[Job]):
    """The status document. Any release may add members."""

    id = serializers.UUIDField()
    operation = serializers.CharField(help_text="What was asked for, as a stable name.")
    status = serializers.ChoiceField(choices=State.choices)
    attempt = serializers.IntegerField(help_text="How often a worker has claimed the job.")
    rerun_of = serializers.UUIDField(allow_null=True)
    rerun_as = serializers.UUIDField(allow_null=True)
    can_rerun = serializers.BooleanField(help_text="It has ended, and its input is kept.")
    progress = ProgressSerializer(allow_null=True)
    message = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    updated_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    url = serializers.URLField(help_text="The status monitor.")
    result_url = serializers.URLField(help_text="202 while the job is active, then its result.")
    cancel_url = serializers.URLField()
    rerun_url = serializers.URLField()
    events_url = serializers.URLField(help_text="Server-sent events, if the server can hold streams.")
    error = ProblemSerializer(allow_null=True)

    def to_representation(self, job: Job) -> dict[str, Any]:
        return status_document(job, self.context["request"])


def status_document(job: Job, request: Any) -> dict[str, Any]:
    """Return the status document. By hand, because every poll does this; ``JobSerializer`` is for the schema."""
    progress, url = job.progress, job_url(job, request)
    path, mark, query = url.partition("?")
    return {
        "id": str(job.pk),
        "operation": job.operation,
        "status": str(job.state),
        "attempt": job.attempt,
        "rerun_of": job.rerun_of and str(job.rerun_of),
        "rerun_as": job.rerun_as and str(job.rerun_as),
        "can_rerun": job.can_rerun,
        "progress": progress,
        "message": progress["message"] if progress else "",
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "updated_at": rfc3339(job.updated_at),
        "finished_at": rfc3339(job.finished_at),
        "expires_at": rfc3339(job.expires_at),
        "url": url,
        # To reverse each of them would be slow.
        "result_url": f"{path}result/{mark}{query}",
        "cancel_url": f"{path}cancel/{mark}{query}",
        "rerun_url": f"{path}rerun/{mark}{query}",
        "events_url": f"{path}events/{mark}{query}",
        "error": job.problem,
    }


def for_renderer(renderer: Any, document: dict[str, Any], job: Job, request: Any) -> dict[str, Any]:
    """Return *document* with its serializer, if *renderer* may look for that, as JSON:API's does.

    REST framework's own renderers and ours do not, and to make one costs more than the document.
    """
    if type(renderer).__module__.startswith(("async_accept.", "rest_framework.")):
        return document
    return ReturnDict(document, serializer=JobSerializer(job, context={"request": request}))
