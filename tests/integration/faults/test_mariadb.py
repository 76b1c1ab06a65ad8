"""The same promises with MariaDB, whose clock, locks and errors differ."""

import shutil
from collections.abc import Iterator

import pytest

from .conftest import need
from .installation import QUICK, Installation, installed
from .test_database import (  # noqa: F401 run here as well
    test_frozen_database_takes_no_job_from_a_healthy_worker,
    test_outage_at_the_moment_of_the_result,
    test_requests_get_503_with_retry_after,
    test_success_is_kept_until_the_database_is_back,
)
from .test_workers import (  # noqa: F401 run here as well
    test_cancel_survives_a_restart,
    test_killed_child_is_noticed_at_once,
    test_power_cut_gives_the_job_to_another_worker,
    test_worker_frozen_beyond_its_lease_writes_nothing,
)

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    need("redis-server", shutil.which("redis-server"))
    need("MariaDB's programs", shutil.which("mariadbd") and shutil.which("mariadb-install-db"))
    with installed(QUICK, database="mariadb") as installation:
        yield installation
