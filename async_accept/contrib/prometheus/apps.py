"""The configuration of the app: it counts in every process, and serves the counts of workers."""

from importlib.util import find_spec

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured


class PrometheusConfig(AppConfig):
    """Add ``async_accept.contrib.prometheus`` to ``INSTALLED_APPS``, after ``async_accept``."""

    name = "async_accept.contrib.prometheus"
    label = "async_accept_prometheus"

    def ready(self) -> None:
        if find_spec("prometheus_client") is None:
            raise ImproperlyConfigured(
                "async_accept.contrib.prometheus needs a package that is missing: "
                'pip install "django-async-accept[prometheus]"'
            )
        from . import checks, counting, worker  # noqa: F401 importing registers the checks

        counting.counts.connect()
        worker.connect()
