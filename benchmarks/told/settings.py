from ..ours.settings import *  # noqa: F403
from ..ours.settings import INSTALLED_APPS
from ..settings import database

INSTALLED_APPS = [*INSTALLED_APPS, "async_accept.webhooks"]
DATABASES = {"default": database("told")}
CELERY_TASK_DEFAULT_QUEUE = DATABASES["default"]["NAME"]
# Deliveries keep their connections, as one should have it.
CELERY_DB_REUSE_MAX = None
# The receivers are on this machine.
ASYNC_ACCEPT = {
    "WEBHOOK_ALLOW_HTTP": True,
    "WEBHOOK_ALLOW_LOOPBACK": True,
    "WEBHOOK_PORTS": None,
    "WEBHOOK_QUEUE": f"{CELERY_TASK_DEFAULT_QUEUE}_webhooks",
}
