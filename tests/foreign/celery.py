"""The company's Celery app, with a task class of its own."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.foreign.settings")

app = Celery("company", task_cls="tests.foreign.company.bases:CompanyTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
