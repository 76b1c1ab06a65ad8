"""The status document: what a client reads about a job."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.urls import NoReverseMatch
from django.utils import timezone
from rest_framework import serializers
from rest_framework.reverse import reverse
from rest_framework.settings import api_settings
from rest_framework.utils.urls import remove_query_param

from ..models import Job
from ..states import State
from .urlconf import below_a_version

__all__ = ["JobSerializer", "ProblemSerializer", "ProgressSerializer", "job_id", "job_url", "rfc3339"]


def job_url(job: Job, request: Any, endpoint: str = "detail") -> str:
    """Return the absolute URL of one of the job's endpoints: detail, result, cancel, rerun or events.

    Built by the request, so that host checks, proxy settings, versioning and prefixes hold. A request without a version
    is led to the default one, or the first, where the URLs stand below versions only. The form that this one
    answer was asked for in (``?format=api``) is left out: who follows the URL says which they want.

    Raises:
        NoReverseMatch: ``async_accept.urls`` is not mounted (check ``async_accept.E003``).
    """
    name, kwargs = f"async_accept:job-{endpoint}", {"pk": str(job.pk)}
    try:
        url = str(reverse(name, kwargs=kwargs, request=request))
    except NoReverseMatch:
        named = below_a_version(name)
        if named is None:
            raise
        url = str(reverse(named[0], kwargs={**kwargs, **named[1]}, request=request))
    override = api_settings.URL_FORMAT_OVERRIDE
    # REST framework's reverse() has copied it.
    return remove_query_param(url, override) if override and "?" in url else url


def job_id(text: str) -> UUID | None:
    """Return the id that a URL names; None where it is malformed, or spelled as no URL of ours is."""
    try:
        pk = UUID(text)
    except ValueError:
        return None
    return pk if str(pk) == text.lower() else None


def rfc3339(moment: datetime | None) -> str | None:
    """Return *moment* in UTC (RFC 3339); None stays None."""
    if moment is None:
        return None
    aware = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")


class ProgressSerializer(serializers.Serializer[Any]):
    """How far a job is."""

    current = serializers.FloatField(help_text="How much is done, in units.")
    total = serializers.FloatField(allow_null=True, help_text="How much there is; null where nobody knows.")
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
    """The status document. Unknown members may be added in any release."""

    id = serializers.UUIDField()
    operation = serializers.CharField(help_text="What was asked for, as a stable name.")
    status = serializers.ChoiceField(choices=State.choices)
    attempt = serializers.IntegerField(help_text="How often a worker has begun.")
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
    result_url = serializers.URLField(help_text="202 until there is an answer, then that answer.")
    cancel_url = serializers.URLField()
    rerun_url = serializers.URLField()
    events_url = serializers.URLField(help_text="Server-sent events, where the server can hold streams.")
    error = ProblemSerializer(allow_null=True)

    def to_representation(self, job: Job) -> dict[str, Any]:
        # By hand: this is every poll's work, and the fields above describe it to the schema.
        request = self.context["request"]
        progress = job.progress
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
            "url": job_url(job, request),
            "result_url": job_url(job, request, "result"),
            "cancel_url": job_url(job, request, "cancel"),
            "rerun_url": job_url(job, request, "rerun"),
            "events_url": job_url(job, request, "events"),
            "error": job.problem,
        }
