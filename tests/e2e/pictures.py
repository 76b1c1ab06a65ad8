"""Renews the pictures of the docs that are in ``docs/images``; those of the admin are elsewhere.

No test, so a run of the tests leaves it out: ``python -m pytest -n 0 -m browser tests/e2e/pictures.py``.
"""

import base64
import re
from pathlib import Path

from .test_demo import shop  # noqa: F401 a fixture
from .test_job_page import PROGRESS, at
from .test_shop import SAMPLE, batch
from .test_shop import alice as visitor  # noqa: F401 a fixture

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def take(browser, name, width, height, scheme="light"):
    """Write a picture of what a screen of this size shows."""
    browser.look(width, scheme, prefers_reduced_motion="reduce")
    browser._screen(height)
    browser.cdp("Emulation.setScrollbarsHidden", hidden=True)
    # Twice painted: the first one may still be under way.
    browser.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    picture = browser.cdp("Page.captureScreenshot", format="png")["data"]
    (IMAGES / f"{name}.png").write_bytes(base64.b64decode(picture))


def test_the_status_page(browser, job):
    browser.visit(at(job(progress=PROGRESS)))
    for scheme in ("light", "dark"):
        take(browser, f"status-page-{scheme}", 820, 560, scheme)


def test_the_browsable_api(browser):
    browser.visit("/api/notes/")
    for name, value in (("slug", "a"), ("title", "A")):
        browser.find(f"#post-object-form [name={name}]").send_keys(value)
    browser.leave("#post-object-form button")
    browser.wait(lambda: browser.find_all("async-job progress"), "There should be a panel")
    take(browser, "browsable-api", 1200, 700)


def test_the_shop(visitor):  # noqa: F811 the fixture
    visitor.fill(visitor.card("bulk", "textarea"), batch(100))
    visitor.send("bulk")
    visitor.answer("bulk")
    visitor.attach("import", SAMPLE)
    visitor.send("import")
    visitor.answer("import")
    visitor.outcome("import")
    payments = visitor.card("bulk", "[data-part=count]")
    visitor.wait(lambda: re.match(r"[3-9]\d of 100", visitor.text(payments)), "30 payments or more", 60)
    for scheme in ("light", "dark"):
        take(visitor, f"shop-{scheme}", 1280, 1280, scheme)
    visitor.click(visitor.card("bulk", "[data-part=cancel] button"))
