"""Errors that no view of the API answers."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import page_not_found

__all__ = ["not_found"]


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404: JSON for a URL that the API does not have, such as `/api/orders/0.5/`; else Django's page."""
    if request.path_info.startswith("/api/"):
        return JsonResponse({"detail": "Not found."}, status=404)
    return page_not_found(request, exception)
