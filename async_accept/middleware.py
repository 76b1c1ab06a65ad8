"""Optional middleware: 503 instead of 500 if the database is away before or after a view of this app runs.

Inside, the views of this app answer 503 themselves. Two things run around them: the transaction of ``ATOMIC_REQUESTS``,
and a decorator above ``@accepts``, such as ``@api_view``, which authenticates.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import patch_vary_headers
from django.utils.deprecation import MiddlewareMixin

from .db.errors import is_outage
from .decorators import decorated
from .exceptions import Unavailable
from .http.accept import Accepting
from .http.responses import VARY
from .http.views import JobViewSet
from .problems import problem

__all__ = ["UnavailableMiddleware"]


class UnavailableMiddleware(MiddlewareMixin):
    """Answers 503 with ``Retry-After`` and a problem document while the database is away.

    Only for accepting views and the endpoints of jobs; other views fail as before. It does not see the queries of other
    middleware, such as ``LoginRequiredMiddleware``. Put it anywhere in ``MIDDLEWARE``.
    """

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not is_outage(exception) or not _is_ours(request):
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
        patch_vary_headers(response, VARY)
        return response


def _is_ours(request: HttpRequest) -> bool:
    """Tell whether the request is for an accepting view or for an endpoint of jobs."""
    view: Any = request.resolver_match and request.resolver_match.func
    kind = getattr(view, "cls", None)
    if kind is None:
        return False
    method = str(request.method).lower()
    handler = getattr(kind, (getattr(view, "actions", None) or {}).get(method, method), None)
    return issubclass(kind, Accepting | JobViewSet) or decorated(handler) is not None
