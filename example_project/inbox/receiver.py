"""Receives the webhooks of the shop, as its documentation says: verify, answer at once, and do the work later."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from standardwebhooks import Webhook

from .models import Inbox

__all__ = ["receive", "verified"]


@csrf_exempt
@require_POST
def receive(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Keep a notice if its signature is valid: 204, or 503 while the inbox is down. Else 401."""
    inbox = get_object_or_404(Inbox, pk=pk)
    notice = verified(inbox.secret, request)
    if notice is None:
        return HttpResponse(status=401)
    answer = 503 if inbox.is_down else 204
    inbox.keep(request.headers, request.body, notice, answer)
    return HttpResponse(status=answer)


def verified(secret: str, request: HttpRequest) -> dict[str, Any] | None:
    """Return the notice. None if the secret has not signed it, or it is older than five minutes."""
    with suppress(Exception):  # a malformed header raises ValueError and others, too
        return Webhook(secret).verify(request.body, dict(request.headers))
    return None
