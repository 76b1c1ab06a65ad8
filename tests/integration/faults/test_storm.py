"""A short storm. For a long one: ``python -m tests.integration.faults.storm --help``."""

import pytest

from .account import broken_promises, table
from .installation import QUICK, Installation, installed
from .storm import Storm

pytestmark = pytest.mark.faults


def test_every_202_is_kept_in_a_short_storm(installation: Installation) -> None:
    """With an installation of its own, because the account reads all rows."""
    del installation  # only for its check that the servers are installed
    with installed(QUICK) as shop:
        found = Storm(shop, seed=1, seconds=25, jobs=80, say=print).run()
    assert not broken_promises(found), "\n".join(table(found))
    assert found["attempts"] > found["accepted"] == 80
    assert found["transitions"] >= 2 * 80
