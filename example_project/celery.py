"""The shop's Celery app. Its settings are the Django settings that start with `CELERY_`."""

import os

from celery import Celery

from . import tracing  # noqa: F401 importing connects it to the worker's processes

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

app = Celery("example_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
