"""The configuration of the app: the spans surround the steps of jobs as soon as it is ready."""

from importlib.util import find_spec

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured


class OpenTelemetryConfig(AppConfig):
    """Add ``async_accept.contrib.opentelemetry`` to ``INSTALLED_APPS``, after ``async_accept``."""

    name = "async_accept.contrib.opentelemetry"
    label = "async_accept_opentelemetry"

    def ready(self) -> None:
        if find_spec("opentelemetry") is None:
            raise ImproperlyConfigured(
                "async_accept.contrib.opentelemetry needs a package that is missing: "
                'pip install "django-async-accept[opentelemetry]"'
            )
        from . import spans

        spans.connect()
