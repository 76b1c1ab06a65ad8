import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from selenium.webdriver import Chrome

from async_accept.http.not_modified import not_modified
from async_accept.models import Job
from async_accept.testing import make_job
from benchmarks import make_jobs
from example_project.shop.models import Order
from tests import servers
from tests.live import LiveServer

from . import chrome

AXE = "axe-core@4.11.0"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def driver(tmp_path_factory) -> Iterator[Chrome]:
    started = chrome.start(tmp_path_factory.mktemp("chromium"))
    yield started
    started.quit()


@pytest.fixture
def server(transactional_db, settings) -> Iterator[str]:
    """The tests' project under a strict policy."""
    settings.MIDDLEWARE = ["tests.e2e.policy.strict_policy", *settings.MIDDLEWARE]
    settings.ROOT_URLCONF = "tests.e2e.urls"
    settings.LOGIN_URL = "admin:login"
    not_modified.sent.clear()
    live = LiveServer("localhost")
    yield live.url
    live.stop()


@pytest.fixture(autouse=True)
def _fresh_figures():
    cache.clear()


@pytest.fixture
def alice(transactional_db, django_user_model):
    return django_user_model.objects.create_user("alice", password="alice")


@pytest.fixture
def browser(driver, server, client, alice) -> Iterator[chrome.Browser]:
    """A browser in which alice is logged in."""
    tab = chrome.Browser(driver, server)
    tab.reset()
    client.force_login(alice)
    tab.log_in(client)
    yield tab
    driver.get("about:blank")  # no more polls to a server that is about to stop


@pytest.fixture
def job(alice):
    """Make alice's jobs."""

    def make(state: str = "running", **columns: Any) -> Job:
        return make_job("async_accept.replay", state=state, owner=alice, operation="orders.bulk", **columns)

    return make


@pytest.fixture
def day(transactional_db, django_user_model, monkeypatch):
    """Fill a day of the shop, as the benchmarks do it."""
    names = ("bea", "carlos", "dilek", "emma", "farid", "grace")
    monkeypatch.setattr(make_jobs, "OWNERS", len(names))
    monkeypatch.setattr(make_jobs, "WAITING", 2)
    monkeypatch.setattr(make_jobs, "RUNNING", 3)
    monkeypatch.setattr(make_jobs, "CANCELING", 1)
    make_jobs.make_jobs(500, 1.2, random.Random(5))
    for number, name in enumerate(names):
        django_user_model.objects.filter(username=f"customer-{number:03}").update(username=name)
    order = ContentType.objects.get_for_model(Order)
    cancels = Job.objects.filter(operation__in=("orders.cancel", "payments.capture"))
    for number, pk in enumerate(cancels.order_by("created_at").values_list("pk", flat=True), start=1200):
        Job.objects.filter(pk=pk).update(object_type=order, object_id=str(number))


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> str:
    """The script of axe-core, fetched by npm."""
    npm = shutil.which("npm")
    if npm is None:
        servers.do_without("needs npm, to fetch axe-core")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", AXE]
    got = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if got.returncode:
        servers.do_without(f"npm cannot fetch axe-core: {got.stderr[-500:]}")
    return (folder / "node_modules/axe-core/axe.min.js").read_text()
