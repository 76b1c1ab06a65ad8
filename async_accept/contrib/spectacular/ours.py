"""What our own endpoints have in common: plain JSON, problem documents, and texts for clients."""

from typing import Any, ClassVar

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import is_jsonschema_compliant
from rest_framework.permissions import SAFE_METHODS

from . import parts
from .shared import Part

__all__ = ["Ours"]


class Ours(AutoSchema):
    """Base of the schemas of our endpoints; below whatever the project says of a subclass."""

    #: What each action does. Its docstring is for people who change the code.
    descriptions: ClassVar[dict[str, str]]

    @property
    def action(self) -> str:
        view: Any = self.view
        return str(view.action)

    def get_description(self) -> str:  # type: ignore[override]
        own = getattr(type(self.view), self.action, None)
        is_ours = getattr(own, "__module__", "").startswith("async_accept.")
        return self.descriptions[self.action] if is_ours else super().get_description()

    def map_renderers(self, attribute: str) -> list[Any]:
        return parts.json_types() if attribute == "media_type" else []

    def _get_paginator(self) -> Any:
        paginator = super()._get_paginator()
        if paginator is not None and is_jsonschema_compliant():
            make = paginator.get_paginated_response_schema
            paginator.get_paginated_response_schema = lambda schema: _nullable_by_type(make(schema))
        return paginator

    def _resolve_path_parameters(self, variables: Any) -> Any:
        # The route takes any text, to answer 404 for each that is no id.
        schema = {"type": "string", "format": "uuid"}
        ours = {"in": "path", "name": parts.id_name(), "required": True, "schema": schema}
        return [ours] * (ours["name"] in variables) + super()._resolve_path_parameters(
            [name for name in variables if name != ours["name"]]
        )

    def _common_problems(self, *, finds: bool) -> Part:
        """Return the problems of every endpoint.

        Args:
            finds: it looks up the object of its URL.
        """
        codes = parts.access_codes(self) | {406, 429, 503}
        if self.method not in SAFE_METHODS:
            codes |= {403}
        if finds:
            codes |= {404}
        return parts.problems(self, sorted(codes))


def _nullable_by_type(schema: Part) -> Part:
    """Return *schema* of a page as OpenAPI 3.1 has it: REST framework says ``nullable``, which is of 3.0 only."""
    for member in schema["properties"].values():
        if member.pop("nullable", False):
            member["type"] = [member["type"], "null"]
    return schema
