"""The app of the shop."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """The Corner Shop. Its texts are English only, so they are not marked for translation."""

    name = "example_project.shop"
    verbose_name = "Corner Shop"
