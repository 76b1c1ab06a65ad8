"""Views for monitoring systems, and who may read them: whoever has a token of the settings, and staff.

A system that watches others has no session and no user. So it sends a bearer token (RFC 6750, section 2.1).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import Error
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ..conf import conf

__all__ = ["for_monitoring", "has_token", "public"]

View = Callable[[HttpRequest], HttpResponse]


def public(view: View) -> View:
    """Let everybody GET *view*, also while the database is away."""
    # Not in a transaction of ATOMIC_REQUESTS, which a database that is away cannot begin.
    made: Any = non_atomic_requests(never_cache(require_safe(view)))
    return login_not_required(made)  # type: ignore[no-any-return]


def for_monitoring(view: View) -> View:
    """Let those GET *view* who have a token of ``MONITORING_TOKENS``, and staff who may see jobs; else 401."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if has_token(request.META.get("HTTP_AUTHORIZATION", "")) or _is_staff(request):
            return view(request)
        refusal = HttpResponse("This needs a token of MONITORING_TOKENS.\n", "text/plain", status=401)
        refusal["WWW-Authenticate"] = "Bearer"
        return refusal

    return public(guarded)


def has_token(authorization: str) -> bool:
    """Tell whether the header *authorization* has one of the tokens."""
    scheme, _, token = authorization.partition(" ")
    # Each is compared, so that the time does not tell which one is alike.
    found = [constant_time_compare(token.strip(), known) for known in conf.MONITORING_TOKENS]
    return scheme.lower() == "bearer" and any(found)


def _is_staff(request: HttpRequest) -> bool:
    try:
        user: Any = getattr(request, "user", None)
        return bool(user and user.is_staff and user.has_perm("async_accept.view_job"))
    except Error:  # the session is in the database
        return False
