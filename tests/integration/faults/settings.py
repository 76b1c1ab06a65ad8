"""The example project's settings with notices, and with a disk that can be full."""

from datetime import timedelta

from example_project.settings import *  # noqa: F403
from example_project.settings import ASYNC_ACCEPT, INSTALLED_APPS

INSTALLED_APPS = list(
    dict.fromkeys([*INSTALLED_APPS, "async_accept.webhooks", "tests.integration.faults.apps.FaultsConfig"])
)
# The receiver is on this machine.
ASYNC_ACCEPT = {
    **ASYNC_ACCEPT,
    "WEBHOOK_ALLOW_HTTP": True,
    "WEBHOOK_ALLOW_LOOPBACK": True,
    "WEBHOOK_PORTS": None,
    # As many as by default.
    "WEBHOOK_RETRY_DELAYS": tuple(timedelta(seconds=seconds) for seconds in (1, 1, 2, 2, 3, 3, 5, 5, 5)),
}
STORAGES = {
    "default": {"BACKEND": "tests.integration.faults.disk.FullDisk"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
