"""Chromium for tests: conditions to wait for, media to pretend, and what the browser complained of."""

import base64
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")

SCREENSHOTS = Path(__file__).resolve().parents[2] / "screenshots"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
    "--lang=en-US",
)


def start(profile: Path) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = next(
        found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))
    )
    # Named, so that nothing is looked up or downloaded.
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


def _is_changing(error: WebDriverException) -> bool:
    """Tell whether the page was replaced by another one just now."""
    gone = isinstance(error, NoSuchElementException | StaleElementReferenceException)
    return gone or "does not belong to the document" in str(error.msg)


def _is_gone(element: WebElement) -> bool:
    """Tell whether the page of *element* was replaced."""
    try:
        element.is_enabled()
    except WebDriverException as error:
        if not _is_changing(error):
            raise
        return True
    return False


class Browser:
    """A tab at a server."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url
        self.width = 1280

    # --- Going places -----------------------------------------------------------------------------------

    def visit(self, path: str) -> None:
        self.driver.get(path if path.startswith("http") else self.url + path)

    def log_in(self, client: Any) -> None:
        """Take the session of a Django test client."""
        self.visit("/static/async_accept/icon.svg")
        self.driver.add_cookie({"name": "sessionid", "value": client.cookies["sessionid"].value})

    def reset(self) -> None:
        self.scripting(True)
        self.look()
        self.cdp("Network.setExtraHTTPHeaders", headers={})
        self.offline(False)
        self.cdp("Network.clearBrowserCookies")
        self.driver.get("about:blank")
        self.complaints()

    # --- What kind of browser it is ------------------------------------------------------------------------

    def cdp(self, command: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, arguments)

    def scripting(self, on: bool) -> None:
        self.cdp("Emulation.setScriptExecutionDisabled", value=not on)

    def look(self, width: int = 1280, scheme: str = "light", **media: str) -> None:
        """Pretend a screen: its width, light or dark, and media features such as ``forced_colors="active"``."""
        self.width = width
        self._screen()
        features = {"prefers-color-scheme": scheme} | {
            name.replace("_", "-"): value for name, value in media.items()
        }
        self.cdp(
            "Emulation.setEmulatedMedia", features=[{"name": k, "value": v} for k, v in features.items()]
        )

    def _screen(self, height: int = 850) -> None:
        size = {"width": self.width, "height": height}
        self.cdp("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)

    def speak(self, language: str) -> None:
        self.cdp("Network.enable")
        self.cdp("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})

    def hide(self, on: bool = True) -> None:
        """Make the page believe that nobody sees it."""
        self.run(
            "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange'))",
            on,
        )

    def offline(self, on: bool) -> None:
        self.cdp("Network.enable")
        speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.cdp("Network.emulateNetworkConditions", offline=on, **speed)

    # --- Seeing -----------------------------------------------------------------------------------------

    def find(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def find_all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self, css: str) -> str:
        return self.find(css).text

    def polls(self) -> list[int]:
        """The status codes of what scripts of this page have fetched."""
        fetched = "e => e.initiatorType === 'fetch'"
        entries = f"performance.getEntriesByType('resource').filter({fetched})"
        return list(self.run(f"return {entries}.map(e => e.responseStatus)"))

    def count_requests(self) -> None:
        """Count from now on what scripts of this page ask, also what has no answer yet."""
        self.run(
            "window.asked = 0; const was = fetch; window.fetch = (...it) => { asked++; return was(...it); }"
        )

    def asked(self) -> int:
        return int(self.run("return asked"))

    def press(self, css: str) -> None:
        """Click, also where the page reloads itself meanwhile."""
        self.wait(lambda: self.find(css).click() is None, f"{css} should be there to be clicked")

    def leave(self, css: str) -> None:
        """Click what leads to another page, and wait until this one is gone; where it reloads itself, ``press()``."""
        here = self.find("html")
        self.find(css).click()
        self.wait(lambda: _is_gone(here), f"{css} should lead to another page")

    def run_again(self) -> None:
        """Click what runs the job again, once the button before it is gone: that moves this one."""
        self.run("document.activeElement.blur()")
        self.wait(lambda: not self.find("[data-part=cancel]").is_displayed(), "There should be no Cancel")
        self.find("[data-part=rerun] button").click()

    def part(self, name: str) -> str:
        return self.text(f"async-job [data-part={name}]")

    def spoken(self) -> str:
        """What a screen reader was told last; nobody sees it."""
        return str(self.run("return document.querySelector('async-job [role=status]').textContent"))

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], T], what: str, seconds: float = 12) -> T:
        """Return what *condition* gives as soon as that is true."""
        until = time.monotonic() + seconds
        while True:
            try:
                found = condition()
            except WebDriverException as error:
                if not _is_changing(error):
                    raise
                found = None  # type: ignore[assignment]
            if found:
                return found
            assert time.monotonic() < until, f"{what}: not within {seconds} s. {self.complaints()}"
            time.sleep(0.05)

    def wait_for_state(self, word: str) -> None:
        self.wait(lambda: self.part("state") == word, f"The job should be shown as {word}")

    def complaints(self) -> list[str]:
        """What the browser logged as warnings or errors since it was asked last."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("WARNING", "SEVERE") and "/favicon.ico" not in entry["message"]
        ]

    def overflow(self) -> int:
        """How many pixels the page is wider than the screen."""
        return int(
            self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        )

    def shoot(self, name: str, height: int | None = None) -> None:
        """Write a picture of the page for people to look at: the whole of it, or its beginning of some height."""
        target = SCREENSHOTS / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = int(self.cdp("Page.getLayoutMetrics")["cssContentSize"]["height"])
        self._screen(height or min(whole, 3000))
        self.cdp("Emulation.setScrollbarsHidden", hidden=True)
        picture = self.cdp("Page.captureScreenshot", format="png")
        self.cdp("Emulation.setScrollbarsHidden", hidden=False)
        self._screen()
        target.write_bytes(base64.b64decode(picture["data"]))

    def axe(self, script: str, within: str = "body") -> list[str]:
        """Return the serious and critical faults that axe-core finds."""
        self.run(script)
        found = self.driver.execute_async_script(
            "const done = arguments[1];"
            "axe.run(arguments[0], {preload: false}).then(r => done(r.violations), e => done(String(e)))",
            within,
        )
        assert isinstance(found, list), found
        return [
            f"{fault['id']} ({fault['impact']}): {fault['help']}: {[node['html'][:160] for node in fault['nodes']]}"
            for fault in found
            if fault["impact"] in ("serious", "critical")
        ]
