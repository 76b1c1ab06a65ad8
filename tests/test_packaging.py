import subprocess
import sys
from pathlib import Path

import async_accept

ROOT = Path(__file__).resolve().parent.parent


def test_changelog_tells_of_this_version() -> None:
    assert f"\n{async_accept.__version__}\n-----" in (ROOT / "CHANGELOG.rst").read_text()


def test_package_root_and_pytest_plugin_import_without_django() -> None:
    """Django loads an app's root before it is set up, and pytest loads the plugin in projects without Django."""
    code = "import async_accept, async_accept.contrib.pytest, sys; sys.exit('django' in sys.modules)"

    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)

    assert finished.returncode == 0


def test_package_is_marked_as_typed() -> None:
    assert (ROOT / "async_accept" / "py.typed").exists()
