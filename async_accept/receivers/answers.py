"""What a sender is answered: an acknowledgement, a refusal, or its own token in a handshake."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, JsonResponse

from ..exceptions import AcceptRefused, NotVerified
from ..http.errors import LANGUAGE
from ..problems import problem

__all__ = ["acknowledged", "echoed", "refused"]

#: The longest token that is sent back. Microsoft Graph's is a sentence of about 200 characters.
TOKEN_CHARS = 1_000


def refused(refusal: AcceptRefused) -> HttpResponse:
    """Return the problem document of *refusal*. It does not depend on the request."""
    detail = str(refusal.detail)
    members = {"reference": reference} if (reference := getattr(refusal, "reference", None)) else {}
    title = str(refusal.default_detail).rstrip(".")
    document = problem(str(refusal.default_code), detail, status=refusal.status_code, title=title, **members)
    response = JsonResponse(document, status=refusal.status_code, content_type="application/problem+json")
    response["Content-Language"] = LANGUAGE
    if wait := getattr(refusal, "wait", None):
        response["Retry-After"] = str(wait)
    if refusal.status_code == 401:
        response["WWW-Authenticate"] = "Signature"  # RFC 9110, section 15.5.2: a 401 names a scheme
    return _guarded(response)


def acknowledged(status: int, body: Any, headers: Mapping[str, str]) -> HttpResponse:
    """Return the acknowledgement: text as it is, anything else as JSON; nothing for 204."""
    if status == 204:
        response: HttpResponse = HttpResponse(status=status)
    elif isinstance(body, str):
        response = HttpResponse(body, status=status, content_type="text/plain; charset=utf-8")
    else:
        response = JsonResponse(body, status=status, safe=False)
    for name, value in headers.items():
        response[name] = value
    return _guarded(response)


def echoed(token: str | None) -> HttpResponse:
    """Return a token of the sender, as text that no browser takes for a page.

    Raises:
        NotVerified: it is missing, too long, or not printable (401).
    """
    if not token or len(token) > TOKEN_CHARS or not token.isprintable():
        raise NotVerified
    return _guarded(HttpResponse(token, content_type="text/plain; charset=utf-8"))


def _guarded(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response
