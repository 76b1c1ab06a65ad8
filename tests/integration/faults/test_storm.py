"""Short storms. For a long one: ``python -m tests.integration.faults.storm --help``."""

import shutil

import pytest

from .account import broken_promises, table
from .conftest import need
from .installation import Installation
from .plan import plan_faults
from .storm import run

pytestmark = pytest.mark.faults

SECONDS, JOBS = 25, 80


@pytest.mark.parametrize(("database", "broker"), [("postgres", "redis"), ("mariadb", "rabbitmq")])
def test_every_202_is_kept_in_a_short_storm(
    installation: Installation, rabbitmq: None, database: str, broker: str
) -> None:
    """With an installation of its own, because the account reads all rows."""
    del installation  # only for its check that the servers are installed
    need("MariaDB's programs", shutil.which("mariadbd") and shutil.which("mariadb-install-db"))
    found, _ = run(1, SECONDS, JOBS, database, broker, print, quick=True, processes=2)
    assert not broken_promises(found), "\n".join(table(found))
    assert found["attempts"] > found["accepted"] == JOBS
    assert found["transitions"] >= 2 * JOBS


@pytest.mark.parametrize("seed", range(1, 11))
def test_each_sort_of_fault_comes_in_a_short_storm(seed: int) -> None:
    sorts = {fault.kind.split()[0] for fault in plan_faults(seed, SECONDS)}
    assert sorts >= {"clock", "full", "deploy"}
    assert sorts & {"kill", "freeze"}
    assert sorts & {"cut", "hold", "slow"}
