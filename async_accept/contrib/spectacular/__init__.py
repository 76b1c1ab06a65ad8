"""Describes accepting views and the endpoints of jobs to drf-spectacular (extra ``openapi``), without any hook.

It is connected if ``drf_spectacular`` is in ``INSTALLED_APPS``. What a project says by ``@extend_schema``, by its own
``AutoSchema`` or by its own ``OpenApiViewExtension`` stands above what is found out here. The texts are English,
as drf-spectacular's and the problem documents are.
"""

from django.apps import apps

__all__ = ["connect"]


def connect() -> None:
    """Register the extensions; called when the app is ready."""
    from . import extensions, notices, receivers  # noqa: F401 importing registers them

    receivers.connect()
    if apps.is_installed("async_accept.webhooks"):
        from . import webhooks  # noqa: F401

        notices.connect()
