"""An installation for storms: the ways between its parts can break, a clock can be wrong and the disk can be full."""

from pathlib import Path
from typing import Any

from .clock import Clock
from .disk import Disk
from .installation import Installation
from .proxy import Wire, Wires

__all__ = ["StormyInstallation"]

#: The worker whose clock can be wrong.
WITH_CLOCK = "two"


class StormyInstallation(Installation):
    """Each of its parts has a way of its own to the database and to the broker."""

    def __init__(self, folder: Path, *args: Any, **options: Any) -> None:
        self.wires = Wires()
        #: By part and server: ("web", "database").
        self.ways: dict[tuple[str, str], Wire] = {}
        self.clock = Clock(folder / "clock")
        self.disk = Disk(folder)
        super().__init__(folder, *args, **options)

    def env_of(self, part: str) -> dict[str, str]:
        urls = {}
        for server, variable in (("database", "DATABASE_URL"), ("broker", "CELERY_BROKER_URL")):
            target: Any = getattr(self, server)
            way = self.ways[part, server] = self.wires.add(target.port)
            urls[variable] = target.url.replace(f":{target.port}/", f":{way.port}/")
        own = {
            "DJANGO_SETTINGS_MODULE": "tests.integration.faults.settings",
            "CLOCK_FILE": str(self.clock.file),
            "DISK_IS_FULL": str(self.disk.flag),
        }
        return self.env | urls | own

    def celery_of(self, worker: str) -> list[str]:
        return (
            ["-m", "tests.integration.faults.clock", "celery"] if worker == WITH_CLOCK else ["-m", "celery"]
        )

    def stop(self) -> None:
        super().stop()
        self.wires.stop()
