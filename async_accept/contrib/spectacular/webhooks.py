"""The endpoints of webhooks for their owners; only for projects that have ``async_accept.webhooks``."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from rest_framework import serializers

from ...conf import conf
from ...webhooks.serializers import EndpointSerializer, SinceSerializer
from ...webhooks.states import DeliveryState, DisabledBy
from ...webhooks.views import EndpointViewSet
from . import parts
from .extensions import Replacing
from .ours import Ours
from .shared import Part

__all__ = ["WebhooksExtension"]

DESCRIPTIONS = {
    "list": "Your endpoints, newest first.",
    "create": "Register an endpoint. Its secret is in this answer, and never shown again.",
    "retrieve": "One of your endpoints.",
    "partial_update": "Change what the body names. A new URL is checked as at first.",
    "destroy": "Delete the endpoint.",
    "rotate": "Make a new secret, which is shown once. The old one stays valid for a day: both sign.",
    "ping": "Send a test.",
    "resend": "Send all again that failed or was held back, at most 1,000 at a time.",
    "deliveries": "The deliveries of an endpoint, newest first.",
    "resend_delivery": "Send one delivery again, with its id.",
}


class EndpointExtension(OpenApiSerializerExtension):
    """What is asked of an endpoint: the rules for its URL that a pattern can tell."""

    target_class = EndpointSerializer

    def map_serializer(self, auto_schema: Any, direction: Any) -> Part:
        schema: Part = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        scheme = "https?" if conf.WEBHOOK_ALLOW_HTTP else "https"
        schema["properties"]["url"] |= {"format": "uri", "pattern": rf"^{scheme}://[!-\[\]-~]+$"}
        return schema


class EndpointDocumentSerializer(serializers.Serializer[Any]):
    """An endpoint, as its owner reads it."""

    id = serializers.UUIDField()
    url = serializers.CharField(allow_null=True, help_text="Null if it only signs callbacks.")
    callbacks = serializers.BooleanField(help_text="It signs the callbacks that your requests name.")
    operations = serializers.ListField(
        child=serializers.CharField(), help_text="The operations that it is told of; empty: all."
    )
    states = serializers.ListField(
        child=serializers.CharField(), help_text="The final states that it is told of; empty: all."
    )
    include_result = serializers.BooleanField()
    enabled = serializers.BooleanField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    disabled_by = serializers.CharField(allow_null=True, help_text=f"One of {', '.join(DisabledBy.values)}.")
    created_at = serializers.DateTimeField()

    class Meta:
        ref_name = "WebhookEndpoint"


class NewEndpointSerializer(EndpointDocumentSerializer):
    """A new endpoint."""

    secret = serializers.CharField()

    class Meta:
        ref_name = "WebhookEndpointCreated"


class SecretSerializer(serializers.Serializer[Any]):
    """A new secret."""

    secret = serializers.CharField()
    previous_valid_until = serializers.DateTimeField()

    class Meta:
        ref_name = "WebhookSecret"


class DeliveryDocumentSerializer(serializers.Serializer[Any]):
    """A delivery, as the owner of its endpoint reads it."""

    id = serializers.CharField()
    type = serializers.CharField(help_text="The name of the notice, such as job.succeeded.")
    job_id = serializers.UUIDField(allow_null=True)
    sequence = serializers.IntegerField(allow_null=True)
    state = serializers.CharField(
        help_text=f"One of {', '.join(each for each in DeliveryState.values if each != DeliveryState.SENDING)}."
    )
    attempts = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        ref_name = "WebhookDelivery"


class ResentSerializer(serializers.Serializer[Any]):
    """How many deliveries are sent again."""

    resent = serializers.IntegerField()

    class Meta:
        ref_name = "WebhookResent"


#: What each action answers, beside its problems; and which of 400 and 409 it can answer.
RESPONSES: dict[str, tuple[dict[int, Any], list[int]]] = {
    "list": ({200: EndpointDocumentSerializer(many=True)}, [400]),
    "create": ({201: NewEndpointSerializer}, [400, 415]),
    "retrieve": ({200: EndpointDocumentSerializer}, []),
    "partial_update": ({200: EndpointDocumentSerializer}, [400, 415]),
    "destroy": ({204: None}, []),
    "rotate": ({200: SecretSerializer}, []),
    "ping": ({202: DeliveryDocumentSerializer}, [400, 409]),
    "resend": ({202: ResentSerializer}, [400, 409, 415]),
    "deliveries": ({200: DeliveryDocumentSerializer(many=True)}, [400]),
    "resend_delivery": ({202: DeliveryDocumentSerializer}, [409]),
}
REQUESTS = {"create": EndpointSerializer, "partial_update": EndpointSerializer, "resend": SinceSerializer}


class Endpoints(Ours):
    """The schema of ``EndpointViewSet``; below whatever the project says of its subclass."""

    descriptions = DESCRIPTIONS

    def get_request_serializer(self) -> Any:
        return REQUESTS.get(self.action)

    def get_response_serializers(self) -> Any:
        if self.action not in RESPONSES:  # an action of a subclass
            return super().get_response_serializers()
        return RESPONSES[self.action][0]

    def _is_list_view(self, serializer: Any = None) -> bool:
        return self.action in ("list", "deliveries")

    def _get_response_bodies(self, direction: Any = "response") -> Part:
        theirs = super()._get_response_bodies(direction)
        more = RESPONSES[self.action][1] if self.action in RESPONSES else []
        common = self._common_problems(finds=self.action not in ("list", "create"))
        return dict(sorted({**common, **parts.problems(self, more), **theirs}.items()))


class WebhooksExtension(Replacing):
    """The endpoints of webhooks."""

    target_class = EndpointViewSet
    schema_class = Endpoints
