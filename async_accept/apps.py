"""The app's configuration: it registers the tasks, the system checks and the worker's boot steps."""

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _


class AsyncAcceptConfig(AppConfig):
    """Add ``async_accept`` to ``INSTALLED_APPS``, after ``django_celery_results``."""

    name = "async_accept"
    verbose_name = _("Accepted jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def import_models(self) -> None:
        # Not in ready(): the ready() of django.contrib.admin imports our admin, and with it the models of
        # django_celery_results. And not a system check: without those models nothing of this app can be imported.
        if not apps.is_installed("django_celery_results"):
            raise ImproperlyConfigured(
                "async_accept stores the results of jobs in django_celery_results, which is not installed. "
                'Add to your settings: INSTALLED_APPS += ["django_celery_results"]  (async_accept.E001)'
            )
        super().import_models()

    def ready(self) -> None:
        from . import checks, tasks  # noqa: F401 importing registers them
        from .jobs import transitions
        from .worker import bootsteps

        transitions.connect()
        bootsteps.connect()
        if apps.is_installed("django_filters"):
            from .contrib import django_filters

            django_filters.connect()
        if apps.is_installed("drf_spectacular"):
            from .contrib import spectacular

            spectacular.connect()
