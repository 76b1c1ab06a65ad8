"""App configuration of the shop."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ShopConfig(AppConfig):
    """The shop; label `shop`."""

    name = "example_project.shop"
    label = "shop"
    verbose_name = _("Corner Shop")
    default_auto_field = "django.db.models.BigAutoField"
