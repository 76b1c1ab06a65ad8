"""Secrets and signatures, as Standard Webhooks has them (https://www.standardwebhooks.com).

``standardwebhooks`` signs text and a time in UTC; anything else it signs wrongly, without an error. So nothing else of
this app signs by it.
"""

import secrets
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime

__all__ = ["PREFIX", "headers", "new_secret"]

PREFIX = "whsec_"
#: How many random bytes a secret has.
SECRET_BYTES = 32


def new_secret() -> str:
    """Return a new secret: ``whsec_`` and 32 random bytes in base64."""
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(
    webhook_id: str, body: str, secrets: Iterable[str], now: datetime | None = None
) -> dict[str, str]:
    """Return the headers that sign *body* with each of the *secrets*: two of them while one replaces the other.

    Args:
        now: the time of this attempt; the current one by default.
    """
    from standardwebhooks import Webhook

    moment = (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(webhook_id, moment, body) for secret in secrets),
    }
