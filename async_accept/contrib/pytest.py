"""Fixtures for pytest. Nothing has to be imported: pytest finds this module by its entry point.

It is imported at every run of pytest where this package is installed, in projects without Django as well. So it
imports nothing of Django, and no model, until a test asks for a fixture.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..models import Job
    from ..webhooks.testing import Inbox

__all__ = ["accepted_jobs", "run_accepted_jobs", "webhook_inbox"]


@pytest.fixture
def accepted_jobs(_async_accept_jobs_wait: None) -> "Callable[..., list[Job]]":
    """``async_accept.testing.accepted_jobs()``. During the test every job waits until a helper runs it."""
    from ..testing import accepted_jobs

    return accepted_jobs


@pytest.fixture
def run_accepted_jobs(_async_accept_jobs_wait: None) -> "Callable[..., list[Job]]":
    """``async_accept.testing.run_accepted_jobs()``. During the test every job waits until a helper runs it."""
    from ..testing import run_accepted_jobs

    return run_accepted_jobs


@pytest.fixture
def webhook_inbox(_async_accept_database: None) -> "Iterator[Inbox]":
    """The inbox of ``async_accept.webhooks.testing.webhook_inbox()``, open during the test."""
    from django.apps import apps

    if not apps.is_installed("async_accept.webhooks"):
        pytest.fail("webhook_inbox needs async_accept.webhooks in INSTALLED_APPS.", pytrace=False)
    from ..webhooks.testing import webhook_inbox

    with webhook_inbox() as inbox:
        yield inbox


@pytest.fixture
def _async_accept_jobs_wait(_async_accept_database: None) -> Iterator[None]:
    from ..testing.running import waiting_jobs

    with waiting_jobs():
        yield


@pytest.fixture
def _async_accept_database(request: pytest.FixtureRequest) -> None:
    """Let the test use the database, as the fixtures of pytest-django do; without pytest-django it may anyway."""
    with suppress(pytest.FixtureLookupError):
        request.getfixturevalue("db")
