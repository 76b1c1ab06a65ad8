"""Checks of the receivers in the URLconf: each can verify, knows its operation, and has something to do.

No message names a secret. A secret that a method returns is not asked for: it may depend on the request.
"""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import checks
from django.urls import get_resolver

from ..receivers import MetaReceiver, Receiver
from ..receivers.base import listed
from .messages import TAG, error, warning
from .views import Routed, routed_views

__all__ = ["check_receivers"]

#: A secret that is shorter can be guessed. Senders make longer ones.
SHORTEST_SECRET = 16


@checks.register(TAG)
def check_receivers(**kwargs: Any) -> list[checks.CheckMessage]:
    """E012: a receiver has no secret that it can use. E013: it is not complete. W016: a secret is too short."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    routes: dict[tuple[type, str], Routed] = {}
    for route in routed_views(get_resolver().url_patterns):
        if issubclass(route.view, Receiver):
            routes.setdefault((route.view, repr(sorted(route.options))), route)
    return [message for route in routes.values() for message in _check(route)]


def _check(route: Routed) -> Iterator[checks.CheckMessage]:
    receiver: Any = route.view(**route.options)
    yield from _check_secrets(receiver)
    name = _name(receiver)
    if not receiver.accept_operation:
        hint = 'accept_operation = "payments.event"'
        yield error(13, f"{name} has no accept_operation.", hint, route.view)
    if receiver.accept_task is None and route.view.handle is Receiver.handle:
        hint = "accept_task = handle_payment, or def handle(self, event):"
        yield error(13, f"{name} has neither accept_task nor handle().", hint, route.view)
    if receiver.public_url == "":
        hint = 'public_url = "https://shop.example"'
        yield error(13, f"{name} has no public_url, and its sender signs the URL.", hint, route.view)
    if isinstance(receiver, MetaReceiver) and not receiver.verify_token:
        yield error(
            13, f"{name} has no verify_token, so it cannot be set up.", "verify_token = …", route.view
        )
    if receiver.accept_status not in range(200, 300):
        hint = "accept_status = 202"
        yield error(13, f"{name} acknowledges with {receiver.accept_status!r}, no 2xx.", hint, route.view)


def _check_secrets(receiver: Any) -> Iterator[checks.CheckMessage]:
    if callable(receiver.secrets) and receiver.secrets_setting is None:
        return
    name = _name(receiver)
    found = receiver.secrets
    if receiver.secrets_setting is not None:
        found = getattr(settings, receiver.secrets_setting, None)
    given = listed(found)
    if not given:
        hint = 'secrets_setting = "PAYMENT_WEBHOOK_SECRETS", or secrets = […]'
        yield error(12, f"{name} has no secret, so it can verify nothing.", hint, type(receiver))
    elif not all(map(receiver.scheme.can_use, given)):
        hint = "Copy the secret from the sender as it is; one of Standard Webhooks begins with whsec_."
        yield error(12, f"{name} has a secret that is empty or malformed.", hint, type(receiver))
    elif any(len(secret) < SHORTEST_SECRET for secret in given):
        hint = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        message = f"{name} has a secret of less than {SHORTEST_SECRET} characters, which can be guessed."
        yield warning(16, message, hint, type(receiver))


def _name(receiver: Any) -> str:
    kind = type(receiver)
    return f"{kind.__module__}.{kind.__qualname__}"
