"""What a view knows as REST framework's generic views do: its serializer, and the object that a request is about."""

from functools import partial
from typing import Any

from rest_framework.generics import GenericAPIView
from rest_framework.request import Request

__all__ = ["VERBS", "object_of", "serializer_maker", "validated"]

#: The methods that can be accepted, and what generic views call their handlers.
VERBS = {"POST": "create", "PUT": "update", "PATCH": "partial_update", "DELETE": "destroy"}


def object_of(view: Any) -> Any:
    """Look up the object that the request of *view* is about; return None where there is none.

    The generic verbs look theirs up, a creation has none, and for everything else the route's lookup decides.

    Raises:
        Http404: there is no such object.
        PermissionDenied: it is not the caller's (403).
    """
    if not (hasattr(view, "lookup_field") and hasattr(view, "get_object")):
        return None
    verb = getattr(view, "action", None) or VERBS.get(view.request.method, "")
    if verb in VERBS.values() and hasattr(view, verb):
        return None if verb == "create" else view.get_object()
    is_named = (getattr(view, "lookup_url_kwarg", None) or view.lookup_field) in view.kwargs
    has_objects = getattr(view, "queryset", None) is not None or _defines(view, "get_queryset", "get_object")
    return view.get_object() if is_named and has_objects else None


def serializer_maker(view: Any, request: Request, kind: Any = None) -> Any:
    """Return what makes a serializer of *view*, called as a serializer's class; None where the view has none.

    Args:
        kind: the class of the serializer, where it is not the view that names one.
    """
    if kind is None:
        kind = getattr(view, "serializer_class", None)
        if kind is None and not _defines(view, "get_serializer_class", "get_serializer"):
            return None
        if hasattr(view, "get_serializer"):
            return view.get_serializer
        if hasattr(view, "get_serializer_class"):
            kind = view.get_serializer_class()
    if hasattr(view, "get_serializer_context"):
        return partial(kind, context=view.get_serializer_context())
    return partial(kind, context={"request": request, "view": view, "format": view.format_kwarg})


def validated(make: Any, request: Request, instance: Any = None, *, partial: bool | None = None) -> Any:
    """Return what the serializer that *make* makes validates of *request*.

    Args:
        instance: the object that PUT or PATCH changes.
        partial: whether what is not said stays as it is; None: with PATCH.

    Raises:
        ValidationError: the input is not valid (400).
    """
    if request.method in ("PUT", "PATCH"):
        partial = request.method == "PATCH" if partial is None else partial
        serializer = make(instance, data=request.data, partial=partial)
    else:
        serializer = make(data=request.data)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


def _defines(view: Any, *names: str) -> bool:
    """Whether the class of *view* has one of these methods of its own: the generic view's are there always."""
    kind = type(getattr(view, "view", view))
    return any(getattr(kind, name, None) not in (None, getattr(GenericAPIView, name)) for name in names)
