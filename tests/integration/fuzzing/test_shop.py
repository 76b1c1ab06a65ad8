"""A fuzzer sends the shop what its schema allows and what it forbids, with and without credentials (schemathesis).

On PostgreSQL, because SQLite forgives too much: it takes NUL in a text, and knows no row locks.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers
from tests.integration.shops import ROOT, open_shop

FOLDER = Path(__file__).parent
#: How the shop differs from the demo: no debug pages, no waiting, and nothing that goes wrong on purpose.
SHOP = {
    "DJANGO_SETTINGS_MODULE": "tests.integration.fuzzing.settings",
    "DEBUG": "0",
    "TROUBLEMAKER": "0",
    "GATEWAY_SECONDS": "0",
    "PRICING_SECONDS": "0",
    "REPORT_ROWS_PER_SECOND": "1000000",
    "IMPORT_MAX_BYTES": "1000000",
}

pytestmark = [pytest.mark.fuzzer, pytest.mark.postgres]


def test_the_shop_answers_as_its_schema_says(child_environment: dict[str, str], tmp_path: Path) -> None:
    program = shutil.which("st", path=str(Path(sys.executable).parent))
    if program is None:
        servers.do_without("needs schemathesis (extra: dev)")
    shutil.copy(FOLDER / "accounts.yaml", tmp_path)
    with open_shop(child_environment | SHOP, tmp_path) as address:
        config = tmp_path / "schemathesis.toml"
        config.write_text((FOLDER / config.name).read_text().replace("SHOP", address))
        done = subprocess.run(
            [program, "--config-file", config, "run", f"{address}/api/schema/?format=json", "--url", address],
            cwd=tmp_path,
            env=child_environment | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    print(done.stdout[done.stdout.rfind("= SUMMARY") :])  # noqa: T201 shown by -s, and if it fails
    assert done.returncode == 0, done.stdout
