"""One attempt at a delivery, from the message to what its row says afterwards.

Claim by one conditional UPDATE, send, store how it went. If the worker dies in between, the lease runs out and the
relay publishes the delivery again: a notice may arrive twice, with the same id, but never not at all.
"""

import logging
import random
from datetime import datetime, timedelta
from uuid import UUID

from django.db import Error
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from ..db.transactions import after_commit
from ..models import database_now
from ..querysets import acting
from . import circuits, signals
from .models import MOST_FAILURES, Delivery, Endpoint
from .notices import body_of
from .schedule import MAX_ATTEMPTS, delay, retry_after
from .sender import Answer, post
from .signing import headers
from .states import DeliveryState, DisabledBy

__all__ = ["deliver"]

logger = logging.getLogger(__name__)

#: An endpoint to which nothing was delivered for so long, at so many attempts, is disabled.
DISABLED_AFTER = timedelta(days=3)
DISABLED_FAILURES = 10
#: A callback was named once, by one request: it is given up within three hours.
CALLBACK_ATTEMPTS = 5
#: Without an answer, a host may be down.
SILENT = ("timeout", "unreachable")


def deliver(pk: UUID | str) -> None:
    """Make one attempt at the delivery, if it is due and nobody else does."""
    rows = Delivery.objects.select_related("endpoint__owner").annotate(host_failures=circuits.failures())
    delivery = rows.filter(pk=pk, publish_at__isnull=False, endpoint__deleted_at=None).first()
    if delivery is None:
        return
    failures: int | None = vars(delivery)["host_failures"]  # annotated
    if delivery.endpoint.disabled_at is not None or acting(delivery.endpoint.owner) is None:
        delivery.hold()
    elif not circuits.admits(delivery, failures):
        delivery.put_off(circuits.pause(failures or 0) * (1 + random.random()))  # noqa: S311 no secret
    elif not delivery.claim():
        return
    elif delivery.attempt > MAX_ATTEMPTS:  # the last one ended its worker
        delivery.finish(DeliveryState.FAILED, "error")
    else:
        answer = _attempt(delivery, database_now())
        _settle(delivery, answer)
        _judge_host(delivery.host, answer, failures)
        _judge_endpoint(delivery.endpoint, answer, is_callback=bool(delivery.url))


def _attempt(delivery: Delivery, now: datetime) -> Answer:
    endpoint = delivery.endpoint
    try:
        body = body_of(delivery)
        signed = headers(delivery.webhook_id, body, endpoint.secrets(now), now)
    except Error:
        raise
    except Exception as error:
        # Not its message, which may hold anybody's data.
        logger.error("Delivery %s cannot be made: %s", delivery.pk, type(error).__name__)
        return Answer("error")
    return post(delivery.url or endpoint.url, body.encode(), {"Content-Type": "application/json", **signed})


def _settle(delivery: Delivery, answer: Answer) -> None:
    if answer.delivered:
        delivery.finish(DeliveryState.DELIVERED, answer.outcome)
    elif answer.status == 410 or delivery.attempt >= (CALLBACK_ATTEMPTS if delivery.url else MAX_ATTEMPTS):
        delivery.finish(DeliveryState.FAILED, answer.outcome)
    else:
        delivery.wait(delay(delivery.attempt, retry_after(answer.retry_after)), answer.outcome)


def _judge_host(host: str, answer: Answer, failures: int | None) -> None:
    if answer.outcome in SILENT:
        circuits.unanswered(host, failures)
    elif answer.status is not None:
        circuits.answered(host, failures)


def _judge_endpoint(endpoint: Endpoint, answer: Answer, *, is_callback: bool) -> None:
    """Count failures in a row; disable an endpoint that is gone (410), or fails for days."""
    rows = Endpoint.objects.filter(pk=endpoint.pk)
    if is_callback or answer.outcome == "error":  # another one's URL, which is used once; or our own fault
        return
    if answer.delivered:
        if endpoint.failures:
            rows.filter(failures__gt=0).update(failures=0, failing_since=None)
        return
    now = database_now()
    rows.filter(failures__lt=MOST_FAILURES).update(
        failures=F("failures") + 1, failing_since=Coalesce("failing_since", now)
    )
    lasting = Q(failing_since__lte=now - DISABLED_AFTER, failures__gte=DISABLED_FAILURES)
    old = endpoint.failing_since is not None and endpoint.failing_since <= now - DISABLED_AFTER
    if answer.status == 410 or (old and rows.filter(lasting).exists()):
        _disable(endpoint)


def _disable(endpoint: Endpoint) -> None:
    if endpoint.disable(DisabledBy.FAILING):
        logger.warning("Webhook endpoint %s is disabled: its deliveries fail", endpoint.pk)
        endpoint.refresh_from_db()
        after_commit(signals.endpoint_disabled.send_robust, sender=Endpoint, endpoint=endpoint)
