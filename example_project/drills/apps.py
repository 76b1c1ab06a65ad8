"""App configuration of the drills."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DrillsConfig(AppConfig):
    """The drills; label `drills`. Always installed, so that the table is there when they are switched on."""

    name = "example_project.drills"
    label = "drills"
    verbose_name = _("Drills")
    default_auto_field = "django.db.models.BigAutoField"
