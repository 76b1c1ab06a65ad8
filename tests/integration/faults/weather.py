"""An installation for storms: the ways between its parts can break, a clock can be wrong and the disk can be full.

A receiver of the test's own wants to know of all ends.
"""

from pathlib import Path
from typing import Any

from .clock import Clock
from .disk import Disk
from .inbox import SECRET, Inbox
from .installation import Installation
from .processes import Part
from .proxy import Wire, Wires

__all__ = ["StormyInstallation"]

#: The workers that share a clock which can be wrong.
WITH_CLOCK = ("two", "notices")
REGISTER = """
from async_accept.webhooks.models import Endpoint
from django.contrib.auth import get_user_model
owner = get_user_model().objects.get(username="faults")
Endpoint.objects.create(owner=owner, url="{url}", secret="{secret}")
"""


class StormyInstallation(Installation):
    """Each of its parts has a way of its own to the database and to the broker."""

    def __init__(self, folder: Path, *args: Any, **options: Any) -> None:
        self.wires = Wires()
        #: By part and server: ("web", "database").
        self.ways: dict[tuple[str, str], Wire] = {}
        self.clock = Clock(folder / "clock")
        self.disk = Disk(folder)
        self.inbox = Inbox()
        way = self.ways["worker-notices", "inbox"] = self.wires.add(self.inbox.port)
        self.hook = f"http://127.0.0.1:{way.port}/hook"
        super().__init__(folder, *args, **options)
        #: The worker that sends notices, and does nothing else.
        self.teller = self.worker("notices", "--queues", "webhooks")

    def prepare(self) -> None:
        super().prepare()
        self.manage("shell", "--verbosity", "0", "-c", REGISTER.format(url=self.hook, secret=SECRET))
        self.inbox.start()

    def parts(self) -> list[Part]:
        return [*super().parts(), self.teller]

    def env_of(self, part: str) -> dict[str, str]:
        urls = {}
        for server, variable in (("database", "DATABASE_URL"), ("broker", "CELERY_BROKER_URL")):
            target: Any = getattr(self, server)
            way = self.ways[part, server] = self.wires.add(target.port)
            urls[variable] = target.url.replace(f":{target.port}/", f":{way.port}/")
        return self.env | urls | {"CLOCK_FILE": str(self.clock.file)}

    def celery_of(self, worker: str) -> list[str]:
        return (
            ["-m", "tests.integration.faults.clock", "celery"] if worker in WITH_CLOCK else ["-m", "celery"]
        )

    def stop(self) -> None:
        super().stop()
        self.inbox.stop()
        self.wires.stop()
