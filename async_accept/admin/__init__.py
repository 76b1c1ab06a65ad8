"""Jobs in the Django admin. Nothing is registered in a project without ``django.contrib.admin``."""

from django.apps import apps

__all__ = ["JobAdmin", "JobAdminMixin"]

# Every project loads our template tags, and with them this package.
if apps.is_installed("django.contrib.admin"):
    from .model_admin import JobAdmin, JobAdminMixin
