"""The company's settings, if nobody there wants the admin."""

from .settings import *  # noqa: F403

INSTALLED_APPS.remove("django.contrib.admin")  # noqa: F405
