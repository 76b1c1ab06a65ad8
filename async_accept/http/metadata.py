"""What ``OPTIONS`` tells of accepting: for each method that can be answered 202, on which terms.

The block ``accepts`` is added to what the view's own metadata class says.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rest_framework.metadata import SimpleMetadata
from rest_framework.request import Request, override_method
from rest_framework.response import Response

from ..conf import conf
from ..jobs.replay import decorated
from .accept import Acceptance
from .generic import VERBS
from .options import accepting_handlers
from .transactions import can_wait

__all__ = ["JobMetadata", "add_terms", "mode_of", "options_for", "terms", "with_terms"]


class JobMetadata(SimpleMetadata):
    """What ``OPTIONS`` tells of an endpoint of jobs, whatever the project's metadata class is.

    There are no fields: no endpoint of a job takes input.
    """

    def determine_actions(self, request: Request, view: Any) -> dict[str, Any]:
        return {}


def add_terms(response: Response, view: Any, request: Request) -> Response:
    """Add the block ``accepts`` to the answer of ``OPTIONS``, if that is an object."""
    if isinstance(response.data, dict) and (accepted := terms(view, request)):
        response.data["accepts"] = accepted
    return response


def with_terms(metadata: Any, options_of: Callable[[Any], Mapping[str, Any]]) -> Any:
    """Return the class *metadata* with the block added: for a function view, whose class is REST framework's own.

    Args:
        metadata: a metadata class; None (no ``OPTIONS``) stays None.
        options_of: returns the options of the decorator for a view.
    """
    if metadata is None:
        return None

    class AcceptMetadata(metadata):  # type: ignore[misc]
        def determine_metadata(self, request: Request, view: Any) -> Any:
            data = super().determine_metadata(request, view)
            methods = [(method, options_of(view)) for method in view.allowed_methods if method in VERBS]
            if isinstance(data, dict) and methods:
                data["accepts"] = _by_method(view, request, methods)
            return data

    return AcceptMetadata


def terms(view: Any, request: Request) -> dict[str, dict[str, Any]]:
    """Return by method what *view* accepts: operation, mode, idempotency, preferences, status codes.

    ``idempotency_key_seconds`` is how long a key stands for its job, counted from the 202.
    """
    return _by_method(view, request, _accepting(view))


def _by_method(view: Any, request: Request, methods: Any) -> dict[str, dict[str, Any]]:
    found = {}
    for method, options in methods:
        with override_method(view, request, method) as overridden:
            found[method] = _terms(view, overridden, options)
    return found


def _accepting(view: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the methods whose handler accepts, with the options of its decorator."""
    for method in view.allowed_methods:
        options = options_for(view, method)
        if options is not None:
            yield method, options


def options_for(view: Any, method: str) -> Mapping[str, Any] | None:
    """Return the options of the decorator of the handler for *method*; none for a mixin; None if it does not accept.

    The decorator's ``serializer_class`` is one of them. A method that changes nothing is never accepted, whatever this
    returns.
    """
    actions = getattr(view, "action_map", None)
    name = actions.get(method.lower()) if actions else method.lower()
    found = decorated(getattr(view, name or "", None))
    if found is not None:
        options: Mapping[str, Any] = found.accept_options
        return options
    mixed_in = accepting_handlers(type(view))
    is_mixed_in = name in mixed_in or (not actions and VERBS.get(method) in mixed_in)
    return {} if is_mixed_in else None


def mode_of(acceptance: Acceptance) -> Any:
    """Return the mode; ``depends`` if a handler with a task, or a method of the view, decides about each request."""
    mode = acceptance.option("mode", conf.ACCEPT_MODE)
    return "depends" if acceptance.given.get("task") is not None or callable(mode) else mode


def _terms(view: Any, request: Request, given: Mapping[str, Any]) -> dict[str, Any]:
    acceptance = Acceptance(view, request, given)
    option = acceptance.option
    key = option("idempotency", conf.IDEMPOTENCY)
    codes = {202: True, 400: True, 409: option("when_active") == "refuse", 413: True}
    codes |= {422: key != "ignored", 429: acceptance.terms.has_caps, 503: True}
    wait = [f"wait={conf.MAX_WAIT_SECONDS}"] if conf.MAX_WAIT_SECONDS and can_wait(request) else []
    lifetime = {"idempotency_key_seconds": int(conf.IDEMPOTENCY_KEY_LIFETIME.total_seconds())}
    return {
        "operation": acceptance.operation,
        "mode": mode_of(acceptance),
        "idempotency_key": key,
        **({} if key == "ignored" else lifetime),
        "prefer": ["respond-async", "return=minimal", *wait],
        "status_codes": [code for code, possible in codes.items() if possible],
    }
