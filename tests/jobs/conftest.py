from typing import Any
from uuid import UUID

import pytest

from async_accept.jobs import due, publish


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The ids of the jobs that were published, in order, to a broker that takes everything."""
    published: list[UUID] = []

    def take(jobs: Any, via: Any = None) -> list[UUID]:
        ids = [pk for pk, *_ in jobs]
        published.extend(ids)
        return ids

    for module in (publish, due):
        monkeypatch.setattr(module, "publish", take)
    return published
