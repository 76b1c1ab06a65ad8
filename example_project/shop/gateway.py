"""A payment gateway to practise with, as trying as a real one.

It decides by the order's reference alone, so the same sample always ends the same way: some cards are
declined, and some charges succeed while the answer gets lost. Its books (`GatewayCharge`) survive a killed
worker, and one key is charged once, however often it is asked: https://docs.stripe.com/api/idempotent_requests.
"""

import enum
import hashlib
import time
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from .models import GatewayCharge

__all__ = ["Fate", "GatewayTimeout", "charge", "fate", "find", "refund"]

# Of 256 references, about so many are declined, and so many time out at first.
_DECLINED = 15
_SILENT = 10


class GatewayTimeout(Exception):
    """No answer: the money may have been taken or not. Ask again with the same key."""


class Fate(enum.Enum):
    """What the gateway has in store for a reference."""

    APPROVED = "approved"
    DECLINED = "declined"
    SILENT = "silent"


def fate(reference: str) -> Fate:
    """How charging this reference ends; the same today and tomorrow."""
    draw = hashlib.sha256(reference.encode()).digest()[0]
    if draw < _DECLINED:
        return Fate.DECLINED
    return Fate.SILENT if draw < _DECLINED + _SILENT else Fate.APPROVED


def charge(key: str, amount: Decimal, reference: str) -> GatewayCharge:
    """Charge an amount once for this key; asking again returns the first charge.

    Never inside a transaction of the shop: a rollback would erase books that are not ours.

    Raises: GatewayTimeout when the answer is lost; the charge stands, and the next call finds it.
    """
    known = find(key)
    if known:
        return known
    time.sleep(settings.GATEWAY_SECONDS)
    destiny = fate(reference)
    with transaction.atomic(durable=True):
        made, created = GatewayCharge.objects.get_or_create(
            key=key,
            defaults={
                "charge_id": "ch_" + hashlib.sha256(key.encode()).hexdigest()[:24],
                "amount": amount,
                "state": "declined" if destiny is Fate.DECLINED else "approved",
            },
        )
    if created and destiny is Fate.SILENT:
        time.sleep(settings.GATEWAY_SECONDS * 5)
        raise GatewayTimeout(key)
    return made


def find(key: str) -> GatewayCharge | None:
    """The charge that was made for this key, if any."""
    return GatewayCharge.objects.filter(key=key).first()


def refund(key: str) -> None:
    """Give the money of this key back; doing it twice gives it back once."""
    GatewayCharge.objects.filter(key=key, state="approved").update(state="refunded")
