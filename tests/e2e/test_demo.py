"""The demo, from the button in the shop to the result, with its own worker."""

import os
import sys

import pytest

from .chrome import Browser
from .processes import running


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The address of a demo."""
    folder = tmp_path_factory.mktemp("shop")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "CELERY_"))}
    environment |= {
        "DATABASE_URL": f"sqlite:///{folder}/shop.sqlite3",
        "PYTHONUNBUFFERED": "1",
        "DEBUG": "1",
        # So slow that what a test does in the middle of a job is never too late.
        "GATEWAY_SECONDS": "0.2",
        "REPORT_ROWS_PER_SECOND": "5000",
    }
    command = [sys.executable, "manage.py", "demo", "--port", "0"]
    with running(command, environment, "open: .*?") as address:
        yield address


@pytest.fixture
def alice(driver, shop):
    """A browser in which alice has logged in with one click."""
    browser = Browser(driver, shop)
    browser.reset()
    log_in(browser, "alice")
    yield browser
    driver.get("about:blank")


def log_in(browser, name):
    browser.visit("/")
    browser.run("arguments[0].form.submit()", browser.find(f"form [name=username][value={name}]"))
    browser.wait(lambda: f"Logged in as {name}" in browser.text("header"), f"{name} should be logged in")


def order_a_report(browser, rows):
    """Send the form of the browsable API."""
    browser.visit("/api/reports/")
    for name, value in (("rows", rows), ("days", "14")):
        browser.run(
            "arguments[0].value = arguments[1]", browser.find(f"#post-object-form [name={name}]"), value
        )
    browser.run("arguments[0].click()", browser.find("#post-object-form button"))
    browser.wait(lambda: browser.find_all("async-job"), "There should be a panel")
    browser.visit(browser.find("async-job a[data-url=url]").get_attribute("href"))
    browser.complaints()  # a GET of that URL is a 405 with a form


@pytest.mark.parametrize("scripting", [True, False])
def test_a_report_is_followed_to_its_result(alice, scripting):
    order_a_report(alice, "20000")
    alice.scripting(scripting)
    alice.driver.refresh()
    alice.wait(lambda: alice.part("state") == "Succeeded", "The report should be built", seconds=60)
    alice.shoot(f"demo-report-{'script' if scripting else 'plain'}")
    alice.leave("[data-part=result]")
    alice.wait(lambda: "HTTP 200" in alice.text(".response-info"), "The result should be shown")


def test_a_report_is_canceled_and_run_again(alice):
    order_a_report(alice, "1000000")
    alice.wait_for_state("Running")
    alice.wait(lambda: alice.part("percent") not in ("", "0%"), "The bar should move")
    alice.find("[data-part=cancel] button").click()
    alice.wait_for_state("Canceled")
    first = alice.driver.current_url
    alice.run_again()
    alice.wait(lambda: alice.driver.current_url != first, "The browser should go to the new job")
    alice.wait_for_state("Running")
    assert alice.complaints() == []
    alice.find("[data-part=cancel] button").click()
    alice.wait_for_state("Canceled")


def test_bob_does_not_see_alices_job(alice):
    order_a_report(alice, "100")
    url = alice.driver.current_url
    alice.cdp("Network.clearBrowserCookies")
    alice.visit(url)
    assert alice.text("h1") == "Authentication credentials were not provided"
    log_in(alice, "bob")
    alice.visit(url)
    assert alice.text("h1") == "No such job"
