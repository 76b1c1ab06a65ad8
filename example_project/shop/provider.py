"""A simulated payment provider. It sends an event, sends it again, and somebody else sends a forged one.

It calls the shop's own API, without the network, and keeps what was sent and answered for the card.
"""

import json
import secrets
import time
from base64 import b64encode
from typing import Any

from django.http import HttpRequest
from django.test import RequestFactory
from django.urls import resolve, reverse

from async_accept.receivers.schemes import Message

from .models import Order
from .payment_events import PaymentEvents

__all__ = ["simulate"]

_SHOWN_HEADERS = ("Location", "Operation-Location", "Retry-After", "WWW-Authenticate", "Content-Type")


def simulate(request: HttpRequest, order: Order) -> list[dict[str, Any]]:
    """Send three requests about *order*; return for each its `title`, `status` and the texts `request`, `response`.

    Args:
        request: the visitor's, for the host of the URLs.
    """
    body = json.dumps({"type": "payment.captured", "order": order.pk, "charge": f"ch_{secrets.token_hex(8)}"})
    event = f"evt_{secrets.token_hex(8)}"
    ours = PaymentEvents().get_secrets()[0]
    forged = f"whsec_{b64encode(secrets.token_bytes(24)).decode()}"
    return [
        _send(request, title, body, event, secret)
        for title, secret in (
            ("The provider sends an event", ours),
            ("The provider sends it again", ours),
            ("Somebody sends a forged one", forged),
        )
    ]


def _send(request: HttpRequest, title: str, body: str, event: str, secret: str) -> dict[str, Any]:
    url = reverse("payment-events")
    signed = PaymentEvents.scheme.sign(Message(body.encode(), str(int(time.time())), event), [secret])
    inner = RequestFactory().post(
        url,
        body,
        content_type="application/json",
        headers={"Host": request.get_host(), **signed},
        secure=request.is_secure(),
    )
    match = resolve(inner.path_info)
    response = match.func(inner, *match.args, **match.kwargs)
    sent = [f"POST {url}", "Content-Type: application/json", *(f"{name}: {signed[name]}" for name in signed)]
    told = [f"{name}: {response[name]}" for name in _SHOWN_HEADERS if name in response]
    answer = json.dumps(json.loads(response.content), indent=2)
    return {
        "title": title,
        "status": response.status_code,
        "request": "\n".join([*sent, "", body]),
        "response": "\n".join([f"{response.status_code} {response.reason_phrase}", *told, "", answer]),
    }
