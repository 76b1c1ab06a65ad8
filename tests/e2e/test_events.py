"""``<async-job>`` with server-sent events, on a real ASGI server."""

import re
import sys

import pytest

from .chrome import Browser
from .processes import running
from .test_job_page import PROGRESS, at, finish, report


@pytest.fixture
def asgi(child_environment):
    """The address of the tests' project on ASGI."""
    pytest.importorskip("uvicorn")
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "tests.e2e.asgi:application",
        "--port",
        "0",
        "--lifespan",
        "off",
    ]
    with running(command, child_environment, "running on ") as address:
        yield address


def opened(browser):
    """The URLs of the streams that have ended."""
    names = "performance.getEntriesByType('resource').map(e => e.name)"
    return browser.run(f"return {names}.filter(name => name.includes('/events/'))")


@pytest.fixture
def streaming_browser(driver, asgi, client, alice):
    tab = Browser(driver, asgi)
    tab.reset()
    client.force_login(alice)
    tab.log_in(client)
    yield tab
    driver.get("about:blank")


def test_the_element_listens_to_events_and_does_not_ask(streaming_browser, job):
    browser = streaming_browser
    running = job(progress=PROGRESS)
    browser.visit(at(running))
    for percent in (40, 50):
        report(running, percent)
        browser.wait(lambda p=percent: browser.part("percent") == f"{p}%", "The bar should move")
    finish(running)
    browser.wait_for_state("Succeeded")
    assert browser.polls() == []
    assert len(opened(browser)) <= 1
    assert browser.complaints() == []


def test_a_page_that_was_hidden_resumes_where_it_was(streaming_browser, job):
    browser = streaming_browser
    running = job(progress=PROGRESS)
    browser.visit(f"/embedded/{running.pk}/")
    browser.run("window.told = 0; document.addEventListener('job:progress', () => told++)")
    report(running, 40)
    browser.wait(lambda: browser.part("percent") == "40%", "The bar should move")
    told = browser.run("return told")
    browser.hide()
    browser.hide(False)
    report(running, 50)
    browser.wait(lambda: browser.part("percent") == "50%", "The bar should move again")
    assert browser.run("return told") == told + 1, "What was told before is not told again"
    assert browser.polls() == []
    browser.hide()
    assert re.search(r"last_event_id=\d+\.\d+-running$", opened(browser)[-1])


def test_where_the_stream_is_refused_the_element_asks(streaming_browser, job):
    browser = streaming_browser
    running = job(progress=PROGRESS)
    browser.visit(f"/embedded/{running.pk}/?refused")
    report(running, 50)
    browser.wait(lambda: browser.part("percent") == "50%", "The bar should move")
    assert browser.polls()
