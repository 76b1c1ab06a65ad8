"""Clients that four generators make of the shop's schema: each compiles strictly, follows a job, and cancels one.

The programs are beside this file. Each submits an order, follows it to the 201, and cancels a long report.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests import servers
from tests.integration.shops import TOKEN, open_shop
from tests.test_readme import ENVIRONMENT

FOLDER = Path(__file__).parent
#: How each client is made of ``schema.json``; the first word is a program of npm or of this environment.
GENERATORS = {
    "openapi_fetch": "openapi-typescript schema.json --output openapi_typescript/api.ts",
    "hey_api": "openapi-ts --input schema.json --output hey_api_client --client @hey-api/client-fetch",
    "orval_fetch": "orval --input schema.json --output orval_client/shop.ts --client fetch",
    "python_client": "openapi-python-client generate --path schema.json --output-path shop_client --meta none"
    " --config openapi-python-client.yaml --fail-on-warning",
}

pytestmark = pytest.mark.programs


class Workshop:
    """A folder with the programs of this one, in which clients are made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for file in FOLDER.iterdir():
            if file.suffix not in {".pyc", ""} and file.name not in {"__init__.py", Path(__file__).name}:
                shutil.copy(file, folder)
        places = [folder / "node_modules" / ".bin", Path(sys.executable).parent]
        self.environment = os.environ | {
            "PATH": os.pathsep.join([*map(str, places), os.environ["PATH"]]),
            "MYPY_CACHE_DIR": str(folder / "mypy"),
        }

    def run(self, *command: str, seconds: float = 60) -> str:
        """Run a program, and return what it prints; what it reports fails the test."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=seconds
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def programs() -> None:
    """What makes the clients."""
    if not servers.required():
        pytest.skip("asks npm for packages: set ASYNC_ACCEPT_REQUIRE_SERVERS=1")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for program in ("node", "npm", "openapi-python-client", "mypy"):
        if shutil.which(program, path=path) is None:
            servers.do_without(f"needs {program}")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, programs: None) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("shop")
    with open_shop(ENVIRONMENT | {"DATABASE_URL": f"sqlite:///{folder}/shop.sqlite3"}, folder) as address:
        yield address


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, shop: str) -> Workshop:
    """All clients, made of the schema of the running shop."""
    workshop = Workshop(tmp_path_factory.mktemp("clients"))
    options = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock")
    workshop.run("npm", "install", *options, seconds=180)
    schema = requests.get(f"{shop}/api/schema/?format=json", timeout=20)
    (workshop.folder / "schema.json").write_bytes(schema.content)
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda line: workshop.run(*line.split()), GENERATORS.values()):
            pass
    return workshop


@pytest.fixture(scope="module")
def compiled(workshop: Workshop) -> Path:
    workshop.run("tsc", "--project", ".")
    return workshop.folder / "compiled"


def follow_and_cancel(workshop: Workshop, shop: str, *program: str) -> None:
    days = str(100 + list(GENERATORS).index(Path(program[-1]).stem))  # a report of its own
    assert json.loads(workshop.run(*program, shop, TOKEN, days)) == {
        "order": "placed",
        "total": "14.40",
        "report": "canceled",
    }


@pytest.mark.parametrize("name", ["openapi_fetch", "hey_api", "orval_fetch"])
def test_typescript_client_follows_and_cancels(
    workshop: Workshop, compiled: Path, shop: str, name: str
) -> None:
    follow_and_cancel(workshop, shop, "node", str(compiled / f"{name}.js"))


def test_python_client_follows_and_cancels(workshop: Workshop, shop: str) -> None:
    workshop.run("mypy", "--config-file", "mypy.ini")
    follow_and_cancel(workshop, shop, sys.executable, "python_client.py")
