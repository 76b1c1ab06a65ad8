"""Helpers for the tests of your project: an inbox that receives webhooks without a network and verifies them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

from ..jobs.broker import Broker
from ..models import database_now
from ..testing.sending import use_none
from . import circuits, delivering, notices, resending
from .delivering import deliver
from .models import Delivery, Endpoint, Host
from .sender import Answer

__all__ = ["Inbox", "Notice", "webhook_inbox"]

URL = "https://inbox.example/hooks"


@dataclass(frozen=True)
class Notice:
    """What the inbox got: one attempt at one delivery."""

    #: The ``webhook-id``: the same at each attempt.
    id: str
    #: Such as ``job.succeeded``.
    type: str
    #: The status document.
    data: dict[str, Any]
    sequence: int
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Inbox:
    """A receiver in memory. Every notice that comes in has a valid signature, or the test fails."""

    def __init__(self) -> None:
        #: Everything that came in, repeats included.
        self.received: list[Notice] = []
        self._answers: list[tuple[Answer, bool]] = []

    def endpoint(self, owner: Any, **columns: Any) -> Endpoint:
        """Register the inbox for *owner*.

        Args:
            columns: of the endpoint, such as ``operations=["orders.create"]`` or ``include_result=True``.
        """
        made: Endpoint = Endpoint.objects.create(owner=owner, **{"url": URL, **columns})
        return made

    def lose(self, count: int = 1) -> None:
        """Lose the next *count* notices on their way: nothing comes in, and they are sent again."""
        self._answers += [(Answer("unreachable"), False)] * count

    def lose_answers(self, count: int = 1) -> None:
        """Lose the answers to the next *count* notices: they come in, and are sent again with the same id."""
        self._answers += [(Answer("timeout"), True)] * count

    def refuse(self, status: int = 503, count: int = 1) -> None:
        """Answer the next *count* notices with *status*; 410 disables the endpoint."""
        self._answers += [(Answer(f"{status // 100}xx", status), True)] * count

    def deliver(self) -> list[Notice]:
        """Make one attempt at each delivery that waits, whenever its time is; return what came in."""
        before = len(self.received)
        past = database_now() - timedelta(seconds=1)
        waiting = Delivery.objects.filter(try_at__isnull=False)
        waiting.update(try_at=past, publish_at=past)
        Host.objects.update(closed_until=past)
        with patch.object(circuits, "TOLERATED", 1_000_000):
            for pk in list(waiting.order_by("id").values_list("pk", flat=True)):
                deliver(pk)
        return self.received[before:]

    def _post(self, url: str, body: bytes, headers: dict[str, str], *args: Any) -> Answer:
        """Stand for ``sender.post()``."""
        answer, arrives = self._answers.pop(0) if self._answers else (Answer("2xx", 204), True)
        if arrives:
            self.received.append(_verified(url, body, headers))
        return answer


def _verified(url: str, body: bytes, headers: dict[str, str]) -> Notice:
    """Verify what came in, with each secret that is valid now, as its receiver would."""
    from standardwebhooks import Webhook, WebhookVerificationError

    delivery = Delivery.objects.select_related("endpoint").get(pk=headers["webhook-id"].removeprefix("msg_"))
    for secret in delivery.endpoint.secrets(database_now()):
        try:
            Webhook(secret).verify(body, headers, json_parse=False)
        except WebhookVerificationError as error:
            raise AssertionError(f"The signature of {delivery} is not valid: {error}") from error
    document = json.loads(body)
    return Notice(
        headers["webhook-id"], document["type"], document["data"], document["sequence"], url, headers, body
    )


@contextmanager
def webhook_inbox() -> Iterator[Inbox]:
    """Let every webhook inside the block go to an inbox in place of the network; ``inbox.deliver()`` sends them.

    Nothing is sent before, in eager mode neither.
    """
    inbox = Inbox()
    with (
        patch.object(delivering, "post", inbox._post),
        patch.object(notices, "publish_new", _publish_nothing),
        patch.object(resending, "publish_new", _publish_nothing),
        patch.object(Broker, "use", use_none),
    ):
        yield inbox


def _publish_nothing(ids: Sequence[UUID]) -> None:
    """Stand for ``publish_new()``."""
