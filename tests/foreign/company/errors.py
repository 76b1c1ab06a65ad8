"""The company's own format of errors."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

ERROR = "application/vnd.company.error+json"


class Conflict(exceptions.APIException):
    status_code = 409
    default_code = "conflict"
    default_detail = "The order is not in that state."


class VersionMismatch(exceptions.APIException):
    status_code = 412
    default_code = "version-mismatch"
    default_detail = "Somebody has changed the order meanwhile."


def handle(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Tell of *exc* as all services of the company do."""
    response = exception_handler(exc, context)
    if response is None:
        return None
    if isinstance(exc, Http404):
        exc = exceptions.NotFound()
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    assert isinstance(exc, exceptions.APIException)
    fields = response.data if isinstance(exc, exceptions.ValidationError) else None
    response.data = {
        "error": {
            "status": response.status_code,
            "code": "invalid" if fields else exc.get_codes(),
            "message": "" if fields else str(exc.detail),
            "fields": fields,
            "path": context["request"].path,
        }
    }
    if getattr(context["request"], "accepted_renderer", None) and _is_json(context["request"]):
        response.content_type = ERROR
    return response


def _is_json(request: Any) -> bool:
    return bool(request.accepted_renderer.media_type == "application/json")
