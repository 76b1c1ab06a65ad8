"""Shortens times that no setting changes."""

from datetime import timedelta

from django.apps import AppConfig

__all__ = ["LEASE_SECONDS", "FaultsConfig"]

#: How long an attempt at a delivery may take until the relay publishes it again. An attempt takes up to 10 s.
LEASE_SECONDS = 15
#: For how long the files of a job are left to a process that wants to remove them, and may have been killed.
HELD_SECONDS = 20


class FaultsConfig(AppConfig):
    """An app of the fault suite's installations."""

    name = "tests.integration.faults"
    label = "faults"

    def ready(self) -> None:
        from async_accept.jobs import retention
        from async_accept.webhooks import circuits, models

        retention.HELD = timedelta(seconds=HELD_SECONDS)
        models.LEASE = timedelta(seconds=LEASE_SECONDS)
        circuits.SHORTEST_PAUSE = circuits.SLOW_PAUSE = timedelta(seconds=1)
        circuits.LONGEST_PAUSE = timedelta(seconds=4)
