"""What the schema at /api/schema/ tells beside what drf-spectacular finds: errors of REST framework, sizes of lists.

async_accept needs nothing of this: it describes the operations that accept by itself.
"""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated

__all__ = ["ShopSchema"]

_ERRORS = {
    "400": "The input is not valid.",
    "401": "Not logged in.",
    "403": "Not allowed.",
    "404": "There is no such thing.",
    "406": "Only JSON is there.",
    "415": "The body has another media type.",
}
_BODIES = ("POST", "PUT", "PATCH")


class ErrorSerializer(serializers.Serializer):
    """An error of REST framework."""

    detail = serializers.CharField()


class ShopSchema(AutoSchema):
    """Adds the errors of REST framework and the sizes of lists. Leaves out forms, which are for the browsable API."""

    def is_excluded(self) -> bool:
        return not getattr(self.view, "is_offered", True)

    def map_parsers(self) -> list[Any]:
        found = super().map_parsers()
        return ["application/json"] if "application/json" in found else found

    def _get_request_body(self, direction: Any = "request") -> dict[str, Any] | None:
        body = super()._get_request_body(direction)
        # drf-spectacular takes text for optional. It is one of several ways to send orders, but one must be sent.
        if body and "text/csv" in body["content"]:
            body["required"] = True
        return body

    def _unwrap_list_serializer(self, serializer: Any, direction: Any) -> dict[str, Any] | None:
        schema = super()._unwrap_list_serializer(serializer, direction)
        if (
            schema is None
            or direction == "response"
            or not isinstance(serializer, serializers.ListSerializer)
        ):
            return schema
        least = serializer.min_length or (None if serializer.allow_empty else 1)
        sizes = {"minItems": least, "maxItems": serializer.max_length}
        return {**schema, **{name: size for name, size in sizes.items() if size is not None}}

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        found = super()._get_response_bodies(direction)
        if IsAuthenticated not in {type(each) for each in self.view.get_permissions()}:
            return found
        errors = {code: self._error(code) for code in self._codes()}
        return dict(sorted({**errors, **found}.items()))

    def _codes(self) -> list[str]:
        is_lookup = "{" in self.path or self._is_list_view()  # a page that does not exist
        return [
            *(["400", "415"] if self.method in _BODIES else []),
            *["401", "406"],
            *(["403"] if self.method != "GET" else []),  # a session without a CSRF token
            *(["404"] if is_lookup else []),
        ]

    def _error(self, code: str) -> dict[str, Any]:
        detail = self.resolve_serializer(ErrorSerializer, "response").ref
        schema = {"description": "Errors by field, or a list."} if code == "400" else detail
        return {"description": _ERRORS[code], "content": {"application/json": {"schema": schema}}}
