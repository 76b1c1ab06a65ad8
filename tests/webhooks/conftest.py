from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from async_accept.db.functions import DatabaseNow
from async_accept.webhooks import guard
from async_accept.webhooks.delivering import deliver
from async_accept.webhooks.models import Delivery, Endpoint, Host
from tests.webhooks.receiver import Receiver, receiving

#: What lets the tests send to this machine.
LOCAL = {"WEBHOOK_ALLOW_HTTP": True, "WEBHOOK_ALLOW_LOOPBACK": True, "WEBHOOK_PORTS": None}


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """A receiver on this machine, to which notices may go."""
    settings.ASYNC_ACCEPT = LOCAL
    with receiving() as found:
        yield found


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The names that have addresses; all others have none. Nobody asks the network."""
    names: dict[str, list[str]] = {"hooks.example": ["93.184.215.14"], "localhost": ["127.0.0.1"]}

    def lookup(host: str, port: int) -> list[str]:
        if host not in names:
            raise OSError("no such name")
        return names[host]

    monkeypatch.setattr(guard, "lookup", lookup)
    return names


@pytest.fixture
def endpoint(alice: Any, receiver: Receiver) -> Endpoint:
    """An endpoint of alice's that wants to know of everything."""
    return Endpoint.objects.create(owner=alice, url=receiver.url)


def past() -> datetime:
    """A time that has just passed by every clock: SQLite's has milliseconds only."""
    return timezone.now() - timedelta(seconds=1)


def send_due() -> int:
    """Make one attempt at each delivery that is due; return at how many."""
    due = [row.pk for row in Delivery.objects.filter(try_at__lte=DatabaseNow()).order_by("id")]
    for pk in due:
        deliver(pk)
    return len(due)


def come_back_later() -> None:
    """Let every wait be over: of deliveries, of their messages, and of hosts that nobody may try."""
    now = past()
    Delivery.objects.filter(try_at__isnull=False).update(try_at=now)
    Delivery.objects.filter(publish_at__isnull=False).update(publish_at=now)
    Host.objects.update(closed_until=now)


def age(**times: Any) -> None:
    """Move times of all endpoints into the past: ``age(failing_since=timedelta(days=3))``."""
    Endpoint.objects.update(**{name: F(name) - delta for name, delta in times.items()})
