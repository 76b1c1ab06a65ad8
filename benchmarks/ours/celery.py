import os

from celery import Celery

from ..statements import count_in_worker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.ours.settings")

app = Celery("ours")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
count_in_worker()
