from ..settings import *  # noqa: F403
from ..settings import INSTALLED_APPS, database

INSTALLED_APPS = [*INSTALLED_APPS, "async_accept"]
ROOT_URLCONF = "benchmarks.ours.urls"
DATABASES = {"default": database("ours")}
CELERY_TASK_DEFAULT_QUEUE = DATABASES["default"]["NAME"]
