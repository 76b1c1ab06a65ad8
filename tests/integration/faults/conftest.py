import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers

from .client import Client
from .installation import QUICK, Installation, installed
from .processes import until

TABLES = (
    "async_accept_job",
    "django_celery_results_taskresult",
    "drills_effect",
    "async_accept_webhooks_delivery",
    "async_accept_webhooks_host",
)
#: How late a relay may be in these installations. Their times are short, see QUICK.
GRACE_SECONDS = 3.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the fault tests unless somebody asks for them, because they take minutes."""
    if "faults" in (config.option.markexpr or "") or servers.required():
        return
    for item in items:
        if item.get_closest_marker("faults"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; run it with -m faults"))


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    need("redis-server", shutil.which("redis-server"))
    need("PostgreSQL's programs", any(Path("/usr/lib/postgresql").glob("*/bin/initdb")))
    with installed(QUICK) as installation:
        yield installation


@pytest.fixture
def shop(installation: Installation) -> Iterator[Installation]:
    """All parts run, and the tables are empty. After the test, no promise may be broken."""
    parts = installation.parts()
    for part in parts:
        if not part.runs:
            part.start(wait=False)
    for part in parts:
        part.wait_until_ready()
    for table in TABLES:
        installation.database.execute(f"DELETE FROM {table}")
    yield installation
    recover(installation)


def recover(installation: Installation) -> None:
    """Start and thaw all parts, and wait until no promise is broken."""
    for part in installation.parts():
        part.thaw()
        if not part.runs:
            part.start()
    until(
        lambda: not installation.violations(GRACE_SECONDS),
        10 * GRACE_SECONDS,
        f"all promises to be kept: {installation.violations(GRACE_SECONDS)}",
        pause=0.5,
    )


@pytest.fixture
def client(shop: Installation) -> Client:
    return Client(shop)


@pytest.fixture
def rabbitmq() -> None:
    need("RabbitMQ", os.path.exists("/usr/lib/rabbitmq/bin/rabbitmq-server"))


def need(what: str, found: object) -> None:
    if not found:
        (pytest.fail if servers.required() else pytest.skip)(f"needs {what}")
