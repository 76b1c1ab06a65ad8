"""The example project's settings with a disk that can be full."""

from example_project.settings import *  # noqa: F403

STORAGES = {
    "default": {"BACKEND": "tests.integration.faults.disk.FullDisk"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
