"""A simulated payment gateway, with the difficulties of a real one.

Some cards are declined. Some charges succeed, but the answer does not arrive. Which one it is depends only on the
order's reference, so the sample orders always end in the same way.
One key is charged once, however often it is sent, as with https://docs.stripe.com/api/idempotent_requests. The charges
are stored (`GatewayCharge`), so that also holds after a worker was killed.
"""

import enum
import hashlib
import time
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from .models import GatewayCharge

__all__ = ["Fate", "GatewayTimeout", "charge", "fate", "find", "refund"]

# Of 256 references, about this many are declined, and about this many time out at the first call.
_DECLINED = 15
_SILENT = 10


class GatewayTimeout(Exception):
    """The gateway does not answer. It may have taken the money or not: call again with the same key."""


class Fate(enum.Enum):
    """How a charge ends."""

    APPROVED = "approved"
    DECLINED = "declined"
    SILENT = "silent"


def fate(reference: str) -> Fate:
    """Return how the charge of this reference ends. It is always the same."""
    draw = hashlib.sha256(reference.encode()).digest()[0]
    if draw < _DECLINED:
        return Fate.DECLINED
    return Fate.SILENT if draw < _DECLINED + _SILENT else Fate.APPROVED


def charge(key: str, amount: Decimal, reference: str) -> GatewayCharge:
    """Charge an amount once for this key. Another call with the key returns the first charge.

    Do not call this in a transaction of the shop: a rollback would delete the gateway's charge.

    Raises:
        GatewayTimeout: the answer is lost. The charge was made, and the next call returns it.
    """
    known = find(key)
    if known:
        return known
    time.sleep(settings.GATEWAY_SECONDS)
    ending = fate(reference)
    with transaction.atomic(durable=True):
        made, created = GatewayCharge.objects.get_or_create(
            key=key,
            defaults={
                "charge_id": "ch_" + hashlib.sha256(key.encode()).hexdigest()[:24],
                "amount": amount,
                "state": "declined" if ending is Fate.DECLINED else "approved",
            },
        )
    if created and ending is Fate.SILENT:
        time.sleep(settings.GATEWAY_SECONDS * 5)
        raise GatewayTimeout(key)
    return made


def find(key: str) -> GatewayCharge | None:
    """Return the charge with this key, or None."""
    return GatewayCharge.objects.filter(key=key).first()


def refund(key: str) -> None:
    """Give the money of this charge back. A second call does nothing."""
    GatewayCharge.objects.filter(key=key, state="approved").update(state="refunded")
