"""What owners read and write. They never read how a receiver answered, nor when: that would map a network."""

from typing import Any

from rest_framework import serializers
from rest_framework.fields import empty

from ..conf import conf
from ..http.monitor import rfc3339
from ..states import FINAL
from .guard import Blocked, check_url
from .models import Delivery, Endpoint
from .states import DeliveryState, DisabledBy

__all__ = ["DeliverySerializer", "EndpointSerializer", "SinceSerializer"]

#: How many operations one endpoint may name.
MAX_OPERATIONS = 100


class Switch(serializers.BooleanField):
    """A form that does not name it says nothing. REST framework would take that for an empty checkbox: False."""

    default_empty_html = empty


class EndpointSerializer(serializers.Serializer[Endpoint]):
    """An endpoint. The secret is shown when it is made, and never again."""

    url = serializers.CharField(
        max_length=2000,
        trim_whitespace=False,
        required=False,
        help_text="Where the notices go: https, and public.",
    )
    callbacks = serializers.BooleanField(
        required=False,
        help_text="It has no URL of its own, but signs the callbacks that your requests name.",
    )
    operations = serializers.ListField(
        child=serializers.CharField(max_length=100),
        max_length=MAX_OPERATIONS,
        required=False,
        help_text="The operations that it is told of; empty: all.",
    )
    states = serializers.ListField(
        child=serializers.ChoiceField(choices=[str(state) for state in FINAL]),
        max_length=len(FINAL),
        required=False,
        help_text="The final states that it is told of; empty: all.",
    )
    include_result = serializers.BooleanField(required=False, help_text="Send small JSON results along.")
    enabled = Switch(required=False)

    def validate_url(self, url: str) -> str:
        try:
            return check_url(url).url
        except Blocked as error:
            raise serializers.ValidationError(str(error)) from None

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        by_staff = self.instance is not None and self.instance.disabled_by == DisabledBy.STAFF
        if by_staff and data.get("enabled"):
            raise serializers.ValidationError({"enabled": ["It was disabled by the operators of this site."]})
        if self.instance is not None:
            if data.pop("callbacks", None) is not None or ("url" in data and not self.instance.url):
                raise serializers.ValidationError("An endpoint for callbacks stays one, and has no URL.")
        elif data.pop("callbacks", False) == ("url" in data):
            raise serializers.ValidationError({"url": ["Give a URL, or callbacks: true."]})
        if self.instance is None:
            owner = self.context["owner"]
            most: int = conf.WEBHOOK_MAX_ENDPOINTS
            if Endpoint.objects.alive().filter(owner=owner).count() >= most:
                raise serializers.ValidationError(f"You may have at most {most} endpoints.")
        return data

    def to_representation(self, endpoint: Endpoint) -> dict[str, Any]:
        return {
            "id": str(endpoint.pk),
            "url": endpoint.url or None,
            "callbacks": not endpoint.url,
            "operations": endpoint.operations,
            "states": endpoint.states,
            "include_result": endpoint.include_result,
            "enabled": endpoint.disabled_at is None,
            "disabled_at": rfc3339(endpoint.disabled_at),
            "disabled_by": endpoint.disabled_by or None,
            "created_at": rfc3339(endpoint.created_at),
        }


class DeliverySerializer(serializers.Serializer[Delivery]):
    """A delivery. Whether it is being sent at this moment, and when it is tried next, is not told."""

    def to_representation(self, delivery: Delivery) -> dict[str, Any]:
        sending = delivery.state == DeliveryState.SENDING
        return {
            "id": delivery.webhook_id,
            "type": delivery.event,
            "job_id": delivery.job_id and str(delivery.job_id),
            "sequence": delivery.sequence,
            "state": str(DeliveryState.WAITING if sending else delivery.state),
            "attempts": delivery.attempt,
            "created_at": rfc3339(delivery.created_at),
            "finished_at": rfc3339(delivery.finished_at),
        }


class SinceSerializer(serializers.Serializer[Any]):
    """Which deliveries are sent again."""

    since = serializers.DateTimeField(required=False, help_text="Those made since then; all without it.")
