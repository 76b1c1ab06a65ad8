"""What the operations of one schema tell each other while it is generated.

drf-spectacular describes one operation after the other, and merges nothing afterwards. But the result URL is one
operation for the results of all accepting ones, and a link must lead to an operation that is in the schema. So those
parts are dicts that are filled as their facts come.
"""

from typing import Any
from weakref import WeakKeyDictionary

from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent

__all__ = ["Shared", "component", "shared"]

#: A part of an OpenAPI document.
Part = dict[str, Any]


class Shared:
    """The parts of one schema that several operations share."""

    def __init__(self) -> None:
        #: The links of every 202, by name; those whose target is in the schema.
        self.links: Part = {}
        #: The path that has each fixed operation id.
        self.paths: dict[str, str] = {}
        self._results: list[tuple[str, Part]] = []
        self._targets: list[Part] = []

    def claim(self, operation_id: str, path: str) -> bool:
        """Tell whether *path* has *operation_id*: the first one gets it, if the URLs of jobs are mounted twice."""
        return self.paths.setdefault(operation_id, path) == path

    def add_result(self, status: str, response: Part) -> None:
        """Tell the operations that answer results of one more: a response object."""
        self._results.append((status, response))
        for responses in self._targets:
            _merge(responses, status, response)

    def tell_results(self, responses: Part) -> None:
        """Add all results, also those that are found later, to the *responses* of an operation."""
        self._targets.append(responses)
        for status, response in self._results:
            _merge(responses, status, response)


_shared: "WeakKeyDictionary[ComponentRegistry, Shared]" = WeakKeyDictionary()


def shared(registry: ComponentRegistry) -> Shared:
    """Return the shared parts of the schema that *registry* belongs to."""
    return _shared.setdefault(registry, Shared())


def component(registry: ComponentRegistry, name: str, schema: Part) -> Part:
    """Register *schema* as the component *name*, and return a reference to it."""
    found = ResolvedComponent(name, ResolvedComponent.SCHEMA, schema, name)
    registry.register_on_missing(found)
    return dict(found.ref)


def _merge(responses: Part, status: str, response: Part) -> None:
    """Add the content of *response* to that of the same status: what differs is one of several schemas."""
    target = responses.setdefault(status, {"description": "The result."})
    for media_type, content in response.get("content", {}).items():
        known = target.setdefault("content", {}).get(media_type)
        target["content"][media_type] = {"schema": _either(known and known["schema"], content["schema"])}
    for name, header in response.get("headers", {}).items():
        target.setdefault("headers", {}).setdefault(name, {**header, "required": False})
    ordered = sorted(responses.items())
    responses.clear()
    responses.update(ordered)


def _either(known: Part | None, schema: Part) -> Part:
    if known is None or known == schema:
        return schema
    schemas = known["anyOf"] if set(known) == {"anyOf"} else [known]
    return known if schema in schemas else {"anyOf": [*schemas, schema]}
