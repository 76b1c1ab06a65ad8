from ..settings import *  # noqa: F403
from ..settings import INSTALLED_APPS, database

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks.handwritten"]
ROOT_URLCONF = "benchmarks.handwritten.urls"
DATABASES = {"default": database("handwritten")}
CELERY_TASK_DEFAULT_QUEUE = DATABASES["default"]["NAME"]
