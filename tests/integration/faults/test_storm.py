"""A short storm. A long one: ``python -m tests.integration.faults.storm --help``."""

import pytest

from .installation import QUICK, Installation, installed
from .storm import Storm, is_clean, table

pytestmark = pytest.mark.faults


def test_every_202_is_kept_in_a_short_storm(installation: Installation) -> None:
    """An installation of its own: the storm wants no rows but its own."""
    del installation  # asked for by name, so that a missing server is told in one place
    with installed(QUICK) as shop:
        account = Storm(shop, seed=1, seconds=25, jobs=80, say=print).run()
    assert not is_clean(account), "\n".join(table(account))
    assert account["attempts"] > account["accepted"] == 80
    assert account["transitions"] >= 2 * 80
