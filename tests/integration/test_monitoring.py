"""The alert rules of the docs, as Prometheus itself reads them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import servers

pytestmark = pytest.mark.programs

MONITORING = Path(__file__).resolve().parents[2] / "docs" / "monitoring"


@pytest.mark.parametrize(
    "words",
    [
        ["check", "rules", "alerts.yml"],
        ["check", "config", "--syntax-only", "prometheus.yml"],
        ["test", "rules", "alerts.test.yml"],
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_prometheus_takes_the_rules_and_they_fire_as_they_should(words):
    if shutil.which("promtool") is None:
        servers.do_without("promtool is not installed")
    done = subprocess.run(["promtool", *words], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
