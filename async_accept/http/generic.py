"""Views as REST framework's generic views know them: operation, object and serializer of a request."""

import logging
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import Error
from django.http import Http404
from rest_framework.exceptions import APIException
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.utils.formatting import camelcase_to_spaces

from ..jobs.parsed import without_csrf_token

__all__ = ["VERBS", "object_of", "operation_of", "validate"]

logger = logging.getLogger(__name__)

#: The methods that can be accepted, and what generic views call their handlers.
VERBS = {"POST": "create", "PUT": "update", "PATCH": "partial_update", "DELETE": "destroy"}


def operation_of(view: Any, request: Request) -> str:
    """Return a name for what *request* asks for: the route's base name, or the view's class, and the action."""
    noun = getattr(view, "basename", None) or _noun(type(view).__name__)
    verb = getattr(view, "action", None) or VERBS.get(request.method or "", str(request.method).lower())
    return f"{noun}.{verb}"


def object_of(view: Any) -> Any:
    """Look up the object that the request of *view* is about; return None if there is none.

    The generic verbs look up theirs, a creation has none, and for everything else the route's lookup decides.

    Raises:
        Http404: there is no such object.
        PermissionDenied: it is not the caller's (403).
    """
    if not (hasattr(view, "lookup_field") and hasattr(view, "get_object")):
        return None
    verb = getattr(view, "action", None) or VERBS.get(view.request.method, "")
    is_verb = verb in VERBS.values() and hasattr(view, verb)
    if is_verb and verb == "create":
        return None
    if (getattr(view, "lookup_url_kwarg", None) or view.lookup_field) in view.kwargs:
        has_objects = getattr(view, "queryset", None) is not None or _defines(
            view, "get_queryset", "get_object"
        )
        return view.get_object() if is_verb or has_objects else None
    if not (is_verb and _defines(view, "get_object")):
        return None  # many at a time: the URL is that of the list
    try:
        return view.get_object()  # the one that every such request is about, such as the caller's own account
    except AssertionError:  # REST framework's: it found no lookup either
        return None


def validate(view: Any, request: Request, instance: Any = None, serializer_class: Any = None) -> Any:
    """Validate the data of *request* and return ``validated_data``; the data itself if there is no serializer.

    Args:
        instance: the object that PUT or PATCH changes; PATCH may leave fields out.
        serializer_class: the serializer; None: the view's own.

    Raises:
        ValidationError: the input is not valid (400).
    """
    data = without_csrf_token(request.data)
    unchecked = data if isinstance(data, Mapping) else {"data": data}
    request._accept_unchecked = unchecked  # type: ignore[attr-defined]
    if serializer_class is None and request.method == "DELETE":
        return unchecked
    is_guess = serializer_class is None and not _says_how(view, request)
    try:
        if is_guess and _is_plain_action(view):
            return unchecked
        make = _serializer_maker(view, request, serializer_class)
        return unchecked if make is None else _validated(make, request, instance, is_guess)
    except (APIException, Http404, PermissionDenied, Error):
        raise
    except Exception:
        # The handler uses its serializer in a way of its own. It checks the data, in the worker.
        if not is_guess:
            raise
        logger.debug("%s is not validated when it is accepted", type(view).__name__, exc_info=True)
        return unchecked


def is_unchecked(data: Any, request: Request) -> bool:
    """Whether *data*, which a view has for its input, is what the client sent: no serializer has validated it."""
    return data is request.data or data is vars(request).get("_accept_unchecked", request.data)


def _says_how(view: Any, request: Request) -> bool:
    """Whether it is known how the serializer of *view* is used: a task or REST framework's own handlers need it so."""
    if getattr(view, "accept_task", None) is not None:
        return True
    name = getattr(view, "action", None) or VERBS.get(str(request.method), "")
    handler = getattr(type(view), name, None) or getattr(type(view), str(request.method).lower(), None)
    return str(getattr(handler, "__module__", "")).startswith("rest_framework.")


def _is_plain_action(view: Any) -> bool:
    """Whether *view* runs an ``@action`` that has no serializer of its own: the view's one is of its objects."""
    handler: Any = getattr(type(view), getattr(view, "action", None) or "", None)
    if not hasattr(handler, "mapping") or "serializer_class" in handler.kwargs:
        return False
    return not _defines(view, "get_serializer_class") or view.get_serializer_class() is view.serializer_class


def _validated(make: Any, request: Request, instance: Any, is_guess: bool) -> Any:
    """Return what a serializer makes of the data. If that is a guess, the items of a list are validated one by one."""
    options: dict[str, Any] = {"many": True} if is_guess and isinstance(request.data, list) else {}
    if request.method in ("PUT", "PATCH"):
        serializer = make(instance, data=request.data, partial=request.method == "PATCH", **options)
    else:
        serializer = make(data=request.data, **options)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


def _serializer_maker(view: Any, request: Request, kind: Any) -> Any:
    """Return what is called as a serializer's class is; None if *view* has no serializer."""
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


def _defines(view: Any, *names: str) -> bool:
    """Whether the class of *view* has one of these methods of its own: the generic view has them always."""
    kind = type(view)
    return any(getattr(kind, name, None) not in (None, getattr(GenericAPIView, name)) for name in names)


@cache
def _noun(class_name: str) -> str:
    for ending in ("ViewSet", "APIView", "View"):
        class_name = class_name.removesuffix(ending)
    return camelcase_to_spaces(class_name).lower().replace(" ", "-") or "view"
