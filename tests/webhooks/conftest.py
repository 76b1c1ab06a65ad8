from collections.abc import Iterator
from typing import Any

import pytest

from async_accept.webhooks import guard
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
