"""The app of the drills."""

from django.apps import AppConfig


class DrillsConfig(AppConfig):
    """Always installed, also without DRILLS=1, so that the table exists in every database."""

    name = "example_project.drills"
