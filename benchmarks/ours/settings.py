from ..settings import *  # noqa: F403
from ..settings import INSTALLED_APPS, database

INSTALLED_APPS = [*INSTALLED_APPS, "async_accept"]
ROOT_URLCONF = "benchmarks.ours.urls"
DATABASES = {"default": database("ours")}
# On a busy machine a message would be left to the relay after 0.2 s, and not be measured; the benchmark refuses that.
ASYNC_ACCEPT = {"BROKER_TIMEOUT": 2.0}
CELERY_TASK_DEFAULT_QUEUE = DATABASES["default"]["NAME"]
