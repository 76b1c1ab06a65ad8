import pytest
from django.core.cache import cache
from django.test import Client

from .metrics import exposed

TOKEN = "a-token-of-a-monitoring-system"


@pytest.fixture
def counted(django_capture_on_commit_callbacks):
    """Do something, commit, and return what was counted meanwhile."""

    def by(do):
        before = exposed()
        with django_capture_on_commit_callbacks(execute=True):
            do()
        after = exposed()
        found = {key: after[key] - before.get(key, 0) for key in after}
        return {
            key: value for key, value in found.items() if value and not key[0].endswith(("_bucket", "_sum"))
        }

    return by


@pytest.fixture
def token(settings):
    """The token of a monitoring system."""
    settings.ASYNC_ACCEPT = {"MONITORING_TOKENS": [TOKEN]}
    return TOKEN


@pytest.fixture
def monitor(token):
    return Client(headers={"authorization": f"Bearer {token}"})


@pytest.fixture
def _fresh_figures():
    cache.clear()
