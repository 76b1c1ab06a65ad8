"""503 in place of a 500 where the database fails outside of a view that could say so. Optional.

The views of this app answer for what fails within them. Two things are around them: the transaction of
``ATOMIC_REQUESTS``, and what stands above ``@accepts``, as ``@api_view`` does while it authenticates.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import patch_vary_headers
from django.utils.deprecation import MiddlewareMixin

from .decorators import decorated
from .exceptions import Unavailable
from .http.errors import LANGUAGE
from .http.outages import passes
from .http.responses import VARY
from .http.views import JobViewSet
from .mixins import AcceptingView
from .problems import problem

__all__ = ["UnavailableMiddleware"]


class UnavailableMiddleware(MiddlewareMixin):
    """Answers 503 with ``Retry-After`` and a problem document while the database is away, or something else passes.

    For accepting views and for the endpoints of jobs only; all others fail as they did. What other middleware asks of
    the database, such as ``LoginRequiredMiddleware``, is not seen here. Put it anywhere in ``MIDDLEWARE``.
    """

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not passes(exception) or not _is_ours(request):
            return None
        refusal = Unavailable.because(exception)
        document = problem(
            refusal.default_code,
            refusal.default_detail,
            status=refusal.status_code,
            title=refusal.default_detail.rstrip("."),
            reference=refusal.reference,
        )
        response = JsonResponse(document, status=503, content_type="application/problem+json")
        response["Retry-After"] = str(refusal.wait)
        response["Content-Language"] = LANGUAGE
        patch_vary_headers(response, VARY)
        return response


def _is_ours(request: HttpRequest) -> bool:
    """Tell whether the request leads to a view that accepts, or to a job."""
    view: Any = request.resolver_match and request.resolver_match.func
    kind = getattr(view, "cls", None)
    if kind is None:
        return False
    method = str(request.method).lower()
    handler = getattr(kind, (getattr(view, "actions", None) or {}).get(method, method), None)
    return issubclass(kind, AcceptingView | JobViewSet) or decorated(handler) is not None
