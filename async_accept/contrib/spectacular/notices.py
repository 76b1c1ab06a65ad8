"""The notices of ``async_accept.webhooks``: webhooks of OpenAPI 3.1, and the callbacks that a request can name."""

from collections.abc import Iterator
from typing import Any

from drf_spectacular.plumbing import ComponentRegistry, is_jsonschema_compliant
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import OpenApiCallback, OpenApiResponse, OpenApiWebhook, extend_schema
from rest_framework import serializers

from ...http.monitor import JobSerializer
from .shared import Part, component

__all__ = ["JobNoticeDataSerializer", "callbacks", "connect", "subscriber"]

SIGNED = (
    "Signed as Standard Webhooks: `webhook-signature` signs `webhook-id`, `webhook-timestamp` and the body. "
    "`webhook-id` is the same at each attempt. Any 2xx ends the attempts, 410 disables the endpoint."
)
#: What each callback is about, by the member of ``subscriber`` that names its URL.
CALLBACKS = {
    "successUri": "The job has succeeded",
    "failedUri": "The job has failed, or was canceled",
    "inProgressUri": "The job has begun",
}
#: What the webhook is about, by its name.
ENDS = {
    "job.succeeded": "A job has succeeded",
    "job.failed": "A job has failed",
    "job.canceled": "A job was canceled",
}


class JobNoticeDataSerializer(JobSerializer):
    """The status document; of a job that its owner has deleted since, `id` and `status` only."""

    result = serializers.JSONField(
        help_text="If the endpoint has `include_result`, and the result is small JSON."
    )
    result_omitted = serializers.CharField(
        help_text="Why there is no `result`: expired, not-json or too-large."
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()
        for name in set(fields) - {"id", "status"}:
            fields[name].required = False
        return fields


class NoticeSerializer(serializers.Serializer[Any]):
    """What all notices have."""

    type = serializers.CharField(help_text="The name of the webhook.")
    timestamp = serializers.DateTimeField()
    sequence = serializers.IntegerField(
        help_text="Counts the notices of an endpoint: a gap shows a lost one."
    )


class JobNoticeSerializer(NoticeSerializer):
    """The notice that a job has ended, or begun."""

    data: Any = JobNoticeDataSerializer()

    class Meta:
        ref_name = "AcceptedJobNotice"


class PingDataSerializer(serializers.Serializer[Any]):
    """Who sends the test."""

    library = serializers.CharField()

    class Meta:
        ref_name = "AcceptedJobPingData"


class PingSerializer(NoticeSerializer):
    """A test of an endpoint, which its owner has asked for."""

    data: Any = PingDataSerializer()

    class Meta:
        ref_name = "AcceptedJobPing"


def _receiving(summary: str, notice: Any) -> Any:
    taken = OpenApiResponse(None, "The notice is taken.")
    return extend_schema(summary=summary, description=SIGNED, request=notice, responses={"2XX": taken})


def callbacks() -> list[OpenApiCallback]:
    """Return the callbacks of an operation whose requests may name them in ``subscriber``."""
    return [
        OpenApiCallback(
            member, f"{{$request.body#/subscriber/{member}}}", _receiving(summary, JobNoticeSerializer)
        )
        for member, summary in CALLBACKS.items()
    ]


def subscriber(registry: ComponentRegistry) -> Part:
    """Return the component of the request's member ``subscriber``."""
    uri = {"type": "string", "format": "uri"}
    members = {
        "type": "object",
        "description": "URLs that are told of the job (OGC API - Processes, section 7.11).",
        "properties": dict.fromkeys(CALLBACKS, uri),
    }
    schema = {"type": "object", "properties": {"subscriber": members}}
    return component(registry, "AcceptedJobSubscriber", schema)


class Webhooks(list[OpenApiWebhook]):
    """The setting ``WEBHOOKS`` with ours: they are there if the schema that is generated can have webhooks (3.1)."""

    def __iter__(self) -> Iterator[OpenApiWebhook]:
        yield from super().__iter__()
        if is_jsonschema_compliant():
            for name, summary in ENDS.items():
                yield OpenApiWebhook(name, _receiving(summary, JobNoticeSerializer))
            yield OpenApiWebhook("ping", _receiving("A test of your endpoint", PingSerializer))


def connect() -> None:
    """Add ours to the project's setting."""
    settings: Any = spectacular_settings
    settings.WEBHOOKS = Webhooks(settings.WEBHOOKS)
