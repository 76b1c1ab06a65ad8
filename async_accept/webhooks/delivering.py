"""One attempt at a delivery, from the message to what its row says afterwards.

Claim by one conditional UPDATE, send, store how it went. If the worker dies in between, the lease runs out and the
relay publishes the delivery again: a notice may arrive twice, with the same id, but never not at all.
"""

import logging
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from uuid import UUID

from django.db import Error, router
from django.db.models import BooleanField, ExpressionWrapper, F, Q
from django.db.models.functions import Coalesce

from ..db.clock import aware
from ..db.errors import again_after_outage
from ..db.transactions import after_commit
from ..models import database, database_now
from ..querysets import acting
from ..steps import Step, take
from . import circuits, signals
from .guard import host_of
from .models import MOST_FAILURES, Delivery, Endpoint
from .notices import body_of
from .querysets import LEASE, to_be_tried
from .schedule import delay, max_attempts, retry_after
from .sender import Answer, post
from .signing import headers
from .states import DisabledBy

__all__ = ["deliver"]

logger = logging.getLogger(__name__)

#: An endpoint to which nothing was delivered for so long, at so many attempts, is disabled.
DISABLED_AFTER = timedelta(days=3)
DISABLED_FAILURES = 10
#: A callback was named once, by one request: it is given up within three hours, also if its host lets nobody try.
CALLBACK_ATTEMPTS = 5
CALLBACK_LIFETIME = timedelta(hours=3)
#: Without an answer, a host may be down.
SILENT = ("timeout", "unreachable")


def deliver(pk: UUID | str) -> None:
    """Make one attempt at the delivery, if it is due and nobody else does."""
    delivery = _find(pk)
    if delivery is None:
        return
    failures: int | None = vars(delivery)["host_failures"]  # annotated
    if delivery.endpoint.disabled_at is not None or acting(delivery.endpoint.owner) is None:
        delivery.hold()
    elif not vars(delivery)["is_due"]:  # annotated; its message came twice, or early
        return
    elif not circuits.admits(delivery, failures):
        if delivery.url and database_now() - delivery.created_at > CALLBACK_LIFETIME:
            delivery.give_up("unreachable")
        else:
            circuits.put_off(delivery, failures)
    elif not delivery.claim():
        return
    elif delivery.attempt > max_attempts():  # the last one ended its worker
        delivery.fail("error")
    else:
        began = monotonic()
        answer = _attempt(delivery, database_now())
        seconds = monotonic() - began
        _store(delivery, answer)
        _tell(delivery, answer)
        _judge_host(delivery.host, answer, failures, seconds)
        _judge_endpoint(delivery.endpoint, answer, is_callback=bool(delivery.url))


def _find(pk: UUID | str) -> Delivery | None:
    """Return the delivery with what is known of its host, if it waits."""
    is_due = ExpressionWrapper(to_be_tried(), output_field=BooleanField())
    rows = Delivery.objects.select_related("endpoint__owner")
    rows = rows.annotate(host_failures=circuits.failures(), is_due=is_due)
    rows = rows.filter(pk=pk, publish_at__isnull=False, endpoint__deleted_at=None)
    delivery: Delivery | None = rows.first()
    if delivery is None or delivery.host == (host := host_of(delivery.url or delivery.endpoint.url)):
        return delivery
    # The endpoint has a new URL since. The circuit of the old host must not stop what goes to the new one.
    Delivery.objects.filter(pk=pk).update(host=host)
    return rows.first()


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
    sent = {"Content-Type": "application/json", **signed}
    return take(
        Step.DELIVER, (delivery, sent), partial(post, delivery.url or endpoint.url, body.encode(), sent)
    )


def _store(delivery: Delivery, answer: Answer) -> None:
    """Store how the attempt went. While the database is away, try again: a 2xx that is forgotten is sent again."""
    until = monotonic() + LEASE.total_seconds()
    again_after_outage(partial(_settle, delivery, answer), router.db_for_write(Delivery), until)


def _settle(delivery: Delivery, answer: Answer) -> None:
    if answer.delivered:
        delivery.arrive(answer.outcome)
    elif answer.status == 410 or delivery.attempt >= _attempts_of(delivery):
        delivery.fail(answer.outcome)
    else:
        wanted = retry_after(answer.retry_after, aware(database_now()))
        delivery.wait(delay(delivery.attempt, wanted), answer.outcome)


def _attempts_of(delivery: Delivery) -> int:
    return min(max_attempts(), CALLBACK_ATTEMPTS) if delivery.url else max_attempts()


def _tell(delivery: Delivery, answer: Answer) -> None:
    told = {"sender": Delivery, "delivery": delivery, "outcome": answer.outcome}
    after_commit(signals.delivery_attempted.send_robust, using=database(), **told)


def _judge_host(host: str, answer: Answer, failures: int | None, seconds: float) -> None:
    if answer.outcome in SILENT:
        circuits.unanswered(host, failures)
    elif answer.status is not None:
        circuits.answered(host, failures, seconds)


def _judge_endpoint(endpoint: Endpoint, answer: Answer, *, is_callback: bool) -> None:
    """Count failures in a row; disable an endpoint that is gone (410), or fails for days.

    What its old URL did says nothing of a new one.
    """
    rows = Endpoint.objects.filter(pk=endpoint.pk, url=endpoint.url)
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
    if (answer.status == 410 and rows.exists()) or (old and rows.filter(lasting).exists()):
        _disable(endpoint)


def _disable(endpoint: Endpoint) -> None:
    if endpoint.disable(DisabledBy.FAILING):
        logger.warning("Webhook endpoint %s is disabled: its deliveries fail", endpoint.pk)
        endpoint.refresh_from_db()
        told = {"sender": Endpoint, "endpoint": endpoint}
        after_commit(signals.endpoint_disabled.send_robust, using=database(), **told)
