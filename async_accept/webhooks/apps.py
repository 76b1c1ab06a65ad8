"""The configuration of the app: it connects itself to the end of jobs and to the relay."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WebhooksConfig(AppConfig):
    """Add ``async_accept.webhooks`` to ``INSTALLED_APPS``, after ``async_accept``."""

    name = "async_accept.webhooks"
    label = "async_accept_webhooks"
    verbose_name = _("Webhooks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from ..http import accept
        from ..jobs import relay
        from ..models import Job
        from ..signals import job_ending, job_started
        from . import callbacks, checks, keeping, notices, publishing

        if checks.has_packages():
            from . import tasks  # noqa: F401 importing registers it
        job_ending.connect(notices.tell_of_end, sender=Job, dispatch_uid="async_accept.webhooks")
        job_started.connect(notices.tell_of_start, sender=Job, dispatch_uid="async_accept.webhooks")
        accept.BEFORE_STORING.append(callbacks.keep)
        relay.DUTIES["notices"] = publishing.publish_due
        relay.DUTIES["notices swept"] = keeping.sweep
