"""Publish deliveries: a message with the id, and nothing else, tells a worker that a notice waits.

As with jobs, the row is the outbox: what is not published after the commit, or whose message was lost, the relay
publishes again.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from celery import current_app
from django.db import router, transaction
from kombu import Producer

from ..conf import conf
from ..db.functions import from_now
from ..exceptions import BrokerUnavailable
from ..jobs.broker import Broker, broker
from ..jobs.confirms import must_arrive, send_together
from ..jobs.postponed import next_time, one_more
from . import circuits
from .models import Delivery
from .states import DeliveryState

__all__ = ["TASK", "publish_due", "publish_new"]

logger = logging.getLogger(__name__)

TASK = "async_accept.webhooks.deliver"
#: How many deliveries are published at a time.
BATCH = 500
#: A delivery that was published so often without a claim is logged: about a minute after it was made.
PATIENCE = 3


def publish_new(ids: Sequence[UUID]) -> None:
    """Publish deliveries that were just stored; if the broker fails, the relay does it later."""
    if current_app.conf.task_always_eager:
        for pk in ids:
            current_app.tasks[TASK].apply(args=(str(pk),))
        return
    try:
        broker.use(partial(_send, ids))
    except BrokerUnavailable as error:
        logger.warning("The broker did not take %d deliveries: %s", len(ids), error)


def publish_due(via: Broker) -> int:
    """Publish due deliveries again, except to hosts that nobody may try; return how many the broker took."""
    if via.paused:
        return 0
    due = _put_off()
    if not due:
        return 0
    try:
        refused = via.use(partial(_send, due))
    except BrokerUnavailable as error:
        logger.warning("The relay could not reach the broker: %s", error)
        # Not those that a worker has claimed meanwhile: they are under its lease.
        waiting = Delivery.objects.filter(pk__in=due, state=DeliveryState.WAITING, publishes__gt=0)
        waiting.update(publish_at=from_now(timedelta()))
        return 0
    if refused:
        logger.warning(
            "The broker refused the messages of %d webhook deliveries. The queue %r may be full.",
            *(len(refused), conf.WEBHOOK_QUEUE),
        )
    return len(due) - len(refused)


def _put_off() -> list[UUID]:
    """Move due deliveries to their next step before they are published, so that no other relay publishes them.

    A delivery whose sender is gone waits again.
    """
    with transaction.atomic(using=router.db_for_write(Delivery)):
        rows = Delivery.objects.due().exclude(host__in=circuits.closed().values("pk")).order_by("publish_at")
        due = list(rows.unlocked().values_list("pk", "publishes")[:BATCH])
        ids = [pk for pk, _ in due]
        # Where no row is locked, a worker may have claimed it since.
        Delivery.objects.due().filter(pk__in=ids).update(
            state=DeliveryState.WAITING, publish_at=next_time("publishes"), publishes=one_more("publishes")
        )
    _warn(sum(count >= PATIENCE for _, count in due))
    return ids


def _warn(unclaimed: int) -> None:
    """Say what is forgotten most often: a worker for the queue. It may also be busy."""
    if unclaimed:
        logger.warning(
            "%d webhook deliveries were published %d times or more without being claimed. Does a worker consume the "
            "queue %r (WEBHOOK_QUEUE), and do the workers keep up?",
            unclaimed,
            PATIENCE,
            conf.WEBHOOK_QUEUE,
        )


def _send(ids: Sequence[UUID], producer: Producer) -> list[UUID]:
    """Publish deliveries; return those that the broker refused."""
    return send_together(producer, ids, partial(_send_one, producer))


def _send_one(producer: Producer, pk: UUID) -> None:
    app: Any = current_app
    app.send_task(
        TASK,
        args=[str(pk)],
        queue=conf.WEBHOOK_QUEUE,
        producer=producer,
        retry=False,
        add_to_parent=False,
        ignore_result=True,
        **must_arrive(producer),
    )
