"""Receivers of webhooks: views of Django's, which drf-spectacular passes by. Each gets a stand-in that it describes."""

from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from ...conf import conf
from ...jobs.events import FORM
from ...receivers import Receiver, TwilioReceiver
from . import parts
from .accepting import Guess
from .extensions import Replacing
from .shared import Part

__all__ = ["connect"]


class ReceiverView(APIView):
    """Stands for a receiver; never answers a request."""

    authentication_classes = ()
    permission_classes = ()
    versioning_class = None
    receiver: type[Receiver]

    def post(self, request: Any) -> None:
        raise NotImplementedError


class Receiving(AutoSchema):
    """The schema of a receiver."""

    @property
    def receiver(self) -> type[Receiver]:
        view: Any = self.view
        return view.receiver  # type: ignore[no-any-return]

    def get_description(self) -> str:  # type: ignore[override]
        is_ours = self.receiver.__module__.startswith("async_accept.")
        return "" if is_ours else (self.receiver.__doc__ or "").strip()

    def get_override_parameters(self) -> list[Any]:
        receiver, found = self.receiver, []
        header = receiver.scheme.header
        if header:
            found.append(parts.header_parameter(header, required=True, description="The signature."))
        if receiver.id_header:
            found.append(parts.header_parameter(receiver.id_header, description="The id of the event."))
        return [*found, *super().get_override_parameters()]

    def get_request_serializer(self) -> Any:
        kind = FORM if issubclass(self.receiver, TwilioReceiver) else "application/json"
        return {kind: {"description": "The event, as its sender signs it."}}

    def get_response_serializers(self) -> Any:
        return Guess()

    def _get_response_bodies(self, direction: Any = "response") -> Part:
        codes = [401, 411, 413, *([429] if conf.MAX_ACTIVE_PER_OPERATION is not None else []), 503]
        theirs = super()._get_response_bodies(direction)
        ours = {**parts.problems(self, codes), str(self.receiver.accept_status): self._acknowledgement()}
        return dict(sorted({**ours, **theirs}.items()))

    def _acknowledgement(self) -> Part:
        headers = {
            name: {**parts.ACCEPTED_HEADERS[name], "required": False}
            for name in ("Location", "Operation-Location")
        }
        found = {"description": "The event is stored, or was before.", "headers": headers}
        told = self.receiver.accept_body
        if self.receiver.accept_status == 204:
            return found
        if isinstance(told, str):
            return {**found, **parts.content({"type": "string"}, ["text/plain"])}
        ids = {"type": "array", "items": {"type": "string", "format": "uuid"}}
        jobs = {"type": "object", "properties": {"jobs": ids}, "required": ["jobs"]}
        schema = jobs if told is None else {"description": "What the sender wants."}
        return {**found, **parts.content(schema, ["application/json"])}


class ReceiverExtension(Replacing):
    """The stand-ins of receivers."""

    target_class = ReceiverView
    schema_class = Receiving


def _stand_in(callback: Any) -> Any:
    """Return a view that drf-spectacular can describe in place of a receiver; any other *callback* as it is."""
    receiver = getattr(callback, "view_class", None)
    if receiver is None or not issubclass(receiver, Receiver):
        return callback
    # @extend_schema has set the schema of the receiver, if it is above that.
    default: Any = api_settings.DEFAULT_SCHEMA_CLASS
    schema = getattr(receiver, "schema", None) or default()
    members = {"receiver": receiver, "schema": schema, "__module__": receiver.__module__}
    view: Any = type(receiver.__name__, (ReceiverView,), members)
    return view.as_view()


def connect() -> None:
    """Let the generator see receivers among the endpoints."""
    base: Any = SchemaGenerator.endpoint_inspector_cls

    class WithReceivers(base):  # type: ignore[misc]
        def should_include_endpoint(self, path: str, callback: Any) -> bool:
            return bool(super().should_include_endpoint(path, _stand_in(callback)))

        def get_allowed_methods(self, callback: Any) -> Any:
            return super().get_allowed_methods(_stand_in(callback))

        def _get_api_endpoints(self, patterns: Any, prefix: str) -> Any:
            found = super()._get_api_endpoints(patterns, prefix)
            return [(path, regex, method, _stand_in(callback)) for path, regex, method, callback in found]

    SchemaGenerator.endpoint_inspector_cls = WithReceivers
