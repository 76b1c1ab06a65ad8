"""The shop's cards in a browser, with JavaScript and without, against the demo and its own worker."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from .chrome import Browser
from .test_demo import shop  # noqa: F401 a fixture

CARDS = ("bulk", "import", "report", "order", "trouble")
SAMPLE = Path(__file__).parents[2] / "example_project/shop/static/shop/price-list.csv"


class Shop(Browser):
    """The home page."""

    def enter(self, name: str) -> None:
        """Log in with one click."""
        self.reset()
        self.visit("/")
        if f"Logged in as {name}" not in self.text("header"):
            self.click(f"form:has([name=username][value={name}]) button")
            self.wait(lambda: f"Logged in as {name}" in self.text("header"), f"{name} should be logged in")

    def card(self, name: str, within: str = "") -> str:
        return f"[data-card={name}] {within}"

    def click(self, css: str) -> None:
        self.run("arguments[0].click()", self.find(css))

    def fill(self, css: str, value: str | int) -> None:
        self.run("arguments[0].value = arguments[1]", self.find(css), str(value))

    def send(self, card: str) -> None:
        self.click(self.card(card, "form button:not([type=button])"))

    def state(self, card: str, word: str, seconds: float = 40) -> None:
        self.wait(lambda: self.text(self.card(card, "[data-part=state]")) == word, f"{card}: {word}", seconds)

    def shown(self, card: str, name: str) -> str:
        """What is told of the exchange, also where it is folded up."""
        return str(
            self.run("return arguments[0].textContent", self.find(self.card(card, f"[data-show={name}]")))
        )

    def monitor(self, card: str) -> str:
        return str(self.find(self.card(card, "async-job a[data-url=url]")).get_property("href"))

    def answer(self, card: str) -> str:
        """The answer in words, once the card shows the job that it tells of, not the one before."""
        said = self.wait(
            lambda: re.match(r"\d+", self.shown(card, "response")) and self.shown(card, "response"),
            f"{card} should have an answer",
        )
        told = re.search(r"^Operation-Location: (\S+)", said, re.MULTILINE)
        self.wait(lambda: self.monitor(card) == told[1] if told else True, f"{card} should show its job")
        return said

    def attach(self, card: str, file: Path) -> None:
        self.find(self.card(card, "[type=file]")).send_keys(str(file))

    def outcome(self, card: str) -> str:
        return self.wait(lambda: self.text(self.card(card, "[data-result]")), f"{card}: an outcome")


@pytest.fixture
def alice(driver, shop):  # noqa: F811
    browser = Shop(driver, shop)
    browser.enter("alice")
    browser.complaints()
    yield browser
    driver.get("about:blank")


def in_a_shell(line: str, folder: Path) -> str:
    """Run a line that the shop shows, and return the answer's status monitor."""
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    got = subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=30, check=True
    )
    found = re.search(r"^Operation-Location: (\S+)", got.stdout, re.MULTILINE)
    assert found, got.stdout
    return found[1]


def batch(rows: int) -> str:
    stamp = f"{time.time_ns():X}"
    lines = [f"{stamp}-{number},TEA-ASSAM,1," for number in range(rows)]
    return "\n".join(["reference,sku,quantity,code", *lines, f"{stamp}-L,LAMP-DESK,900,"])


# --- With JavaScript -------------------------------------------------------------------------------------


def test_bulk_orders_are_sent_followed_and_sent_again(alice):
    alice.fill(alice.card("bulk", "textarea"), batch(3))
    alice.send("bulk")
    assert alice.answer("bulk").startswith("202")
    key = re.search(r'Idempotency-Key: "(.+)"', alice.shown("bulk", "request"))[1]
    alice.state("bulk", "Succeeded")
    assert "out of stock" in alice.outcome("bulk")
    assert "Too few are left." in alice.outcome("bulk")
    monitor = alice.monitor("bulk")
    alice.click(alice.card("bulk", "[data-do=again]"))
    alice.wait(lambda: "the same job" in alice.text(alice.card("bulk", "[data-note]")), "It should say so")
    assert key in alice.shown("bulk", "request")
    assert monitor in alice.shown("bulk", "response")
    assert alice.outcome("bulk")
    assert alice.complaints() == []


def test_bulk_orders_canceled_midway_say_what_they_keep(alice):
    alice.click(alice.card("bulk", "[data-do=sample]"))
    alice.wait(lambda: alice.find(alice.card("bulk", "textarea")).get_property("value"), "A sample")
    # A minute of payments, at the gateway's pace.
    alice.fill(alice.card("bulk", "textarea"), batch(300))
    alice.send("bulk")
    alice.answer("bulk")
    alice.wait(
        lambda: alice.text(alice.card("bulk", "[data-part=stage]")) == "Taking payments", "Payments", 40
    )
    alice.click(alice.card("bulk", "[data-part=cancel] button"))
    alice.state("bulk", "Canceled")
    assert re.search(r"\d+ paid orders are kept", alice.text(alice.card("bulk", "[data-part=message]")))
    assert alice.complaints() == []


def test_a_large_file_is_made_uploaded_and_read(alice, tmp_path):
    alice.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    alice.fill(alice.card("import", "[data-size]"), 2)
    alice.click(alice.card("import", "[data-do=generate]"))
    alice.wait(lambda: "(2 MB) is ready" in alice.text(alice.card("import", "[data-note]")), "A sample")
    alice.send("import")
    assert alice.answer("import").startswith("202")
    assert "(file price-list-2-mb.csv, 2 MB)" in alice.shown("import", "request")
    alice.state("import", "Succeeded")
    assert alice.text(alice.card("import", "[data-part=count]")) == "2 of 2 MB"
    outcome = alice.outcome("import")
    assert "SHA-256" in outcome
    assert re.search(r"^2 MB$", outcome, re.MULTILINE)
    assert alice.find_all(alice.card("import", "[data-result] a[href$='/file/']"))
    assert not alice.find(alice.card("import", "[data-part=rerun]")).is_displayed(), "Its input is gone"
    alice.click(alice.card("import", "[data-save]"))
    alice.wait((tmp_path / "price-list-2-mb.csv").exists, "The sample should be saved")
    assert in_a_shell(alice.shown("import", "curl"), tmp_path) == alice.monitor("import")
    assert alice.complaints() == []


@pytest.mark.parametrize("card", ["bulk", "order", "import"])
def test_the_line_for_the_shell_gets_the_same_job(alice, card):
    if card == "bulk":
        alice.fill(alice.card(card, "textarea"), batch(40))
    if card == "import":
        alice.attach(card, SAMPLE)
    alice.send(card)
    assert alice.answer(card).startswith("202")
    alice.wait(lambda: alice.find_all(alice.card(card, "async-job progress")), "A panel")
    assert in_a_shell(alice.shown(card, "curl"), SAMPLE.parent) == alice.monitor(card)


def test_a_second_click_joins_the_running_report_and_coming_back_finds_it(alice):
    alice.fill(alice.card("report", "[name=rows]"), 900_000)
    alice.send("report")
    alice.answer("report")
    alice.wait(lambda: alice.find_all(alice.card("report", "async-job progress")), "A panel")
    alice.send("report")
    alice.wait(lambda: "joined" in alice.text(alice.card("report", "[data-note]")), "It should say so")
    alice.wait(
        lambda: "left" in alice.text(alice.card("report", "[data-part=message]")), "The time that is left"
    )
    alice.visit("/api/")
    alice.visit("/")
    alice.wait(lambda: "Welcome back" in alice.text(alice.card("report", "[data-note]")), "Found again")
    assert "operation=reports.create&status=accepted" in alice.shown("report", "request")
    alice.click(alice.card("report", "[data-part=cancel] button"))
    alice.state("report", "Canceled")
    assert alice.complaints() == []


def test_a_small_report_is_waited_for(alice):
    alice.fill(alice.card("report", "[name=rows]"), 500)
    alice.click(alice.card("report", "[name=wait]"))
    alice.send("report")
    assert alice.answer("report").startswith("200")
    assert "Preference-Applied: wait=5" in alice.shown("report", "response")
    assert "revenue" in alice.outcome("report")
    assert alice.complaints() == []


def test_an_order_is_placed_and_its_status_page_leads_back(alice):
    alice.send("order")
    alice.answer("order")
    alice.state("order", "Succeeded")
    assert "placed" in alice.outcome("order")
    alice.leave(alice.card("order", "async-job a[data-url=url]"))
    alice.wait_for_state("Succeeded")
    alice.leave(".after a[href='/']")
    alice.wait(lambda: alice.find_all(".cards"), "The shop should be there again")
    assert alice.complaints() == []


def test_what_happened_is_open_where_it_is_new(alice):
    alice.fill(alice.card("report", "[name=rows]"), 500)
    for card in ("order", "report"):
        alice.send(card)
        alice.answer(card)
    shown = alice.find_all("[data-happened]:not([hidden])")
    assert [details.get_property("open") for details in shown].count(True) == 1


def test_trouble_is_watched(alice):
    alice.click(alice.card("trouble", "[value=lose]"))
    alice.answer("trouble")
    alice.wait(
        lambda: "stops here" in alice.text(alice.card("trouble", "[data-part=message]")), "A lost worker"
    )
    alice.wait(
        lambda: alice.text(alice.card("trouble", "[data-part=attempt]")) == "Attempt 2", "A second", 40
    )
    alice.state("trouble", "Succeeded")
    alice.click(alice.card("trouble", "[value=fail]"))
    alice.state("trouble", "Failed")
    assert "hunter2" not in alice.text("body")
    assert alice.complaints() == []


def test_a_mistake_is_told_in_its_card(alice):
    alice.fill(alice.card("bulk", "textarea"), "nonsense")
    alice.send("bulk")
    alice.wait(lambda: "missing: reference" in alice.text(alice.card("bulk", "[data-problem]")), "A problem")
    assert all("400 (Bad Request)" in complaint for complaint in alice.complaints())


def simulate(browser):
    browser.leave("#payment button")
    browser.wait(lambda: browser.text("#payment h3"), "The three answers should be shown")
    texts = [browser.text(f"[data-answer='{number}']") for number in (1, 2, 3)]
    assert [text[:3] for text in texts] == ["202", "202", "401"]
    location = re.compile(r"^Location: (\S+)", re.MULTILINE)
    assert location.search(texts[0])[1] == location.search(texts[1])[1]


def test_payment_webhook_turns_the_order_paid(alice):
    simulate(alice)
    alice.wait(lambda: alice.text("[data-status]") == "paid", "The order should turn paid")
    assert alice.complaints() == []


# --- Without JavaScript ------------------------------------------------------------------------------------


@pytest.fixture
def plain(alice):
    alice.scripting(False)
    alice.visit("/")
    return alice


@pytest.mark.parametrize("card", ["bulk", "import", "report", "order"])
def test_card_works_without_javascript(plain, card):
    if card == "bulk":
        plain.find(plain.card(card, "textarea")).send_keys(batch(2))
    elif card == "import":
        plain.attach(card, SAMPLE)
    elif card == "report":
        plain.find(plain.card(card, "[name=rows]")).clear()
        plain.find(plain.card(card, "[name=rows]")).send_keys("2000")
    plain.leave(plain.card(card, "form button:not([type=button])"))
    plain.wait(lambda: "/api/jobs/" in plain.driver.current_url, "The status page should open")
    monitor = plain.driver.current_url
    plain.wait_for_state("Succeeded")
    assert "202 Accepted" in plain.text("[data-show=response]")
    plain.visit("/")
    assert plain.text(plain.card(card, "[data-part=state]")) == "Succeeded"
    assert plain.text(plain.card(card, "[data-result]"))
    assert plain.text(plain.card(card, "[data-show=request]")).startswith("POST /api/")
    assert in_a_shell(plain.shown(card, "curl"), SAMPLE.parent) == monitor
    assert plain.complaints() == []


def test_trouble_works_without_javascript(plain):
    plain.leave(plain.card("trouble", "[value=fail]"))
    plain.wait(lambda: plain.part("state") == "Failed", "The job should fail", 20)
    assert plain.complaints() == []


def test_a_mistake_is_told_without_javascript(plain):
    plain.find(plain.card("bulk", "textarea")).send_keys("nonsense")
    plain.leave(plain.card("bulk", "form button:not([type=button])"))
    plain.wait(lambda: "missing: reference" in plain.text(plain.card("bulk", "[data-problem]")), "A problem")
    assert plain.text(plain.card("bulk", "[data-show=response]")).startswith("400 Bad Request")
    assert all("400 (Bad Request)" in complaint for complaint in plain.complaints())


# --- Looks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_card_fits_and_is_accessible_with_its_outcome(alice, axe, width, scheme):
    alice.look(width, scheme)
    alice.fill(alice.card("bulk", "textarea"), batch(3))
    alice.fill(alice.card("report", "[name=rows]"), 500)
    alice.attach("import", SAMPLE)
    for card in CARDS[:-1]:
        alice.send(card)
    for card in CARDS[:-1]:
        alice.answer(card)
        alice.state(card, "Succeeded")
        alice.outcome(card)
    assert alice.overflow() == 0
    reason = alice.find(alice.card("bulk", ".reason"))
    table = alice.find(alice.card("bulk", ".scroll"))
    assert reason.rect["x"] + reason.rect["width"] <= table.rect["x"] + table.rect["width"], (
        "It should be seen"
    )
    assert alice.axe(axe) == []
    alice.shoot(f"shop-{width}-{scheme}")
    for details in alice.find_all("details"):
        alice.run("arguments[0].open = true", details)
    assert alice.overflow() == 0
    assert alice.axe(axe) == []
    assert alice.complaints() == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_status_page_fits_in_the_shops_frame(plain, axe, width):
    plain.look(width)
    for language in ("en", "de", "ar"):
        plain.speak(language)
        plain.visit("/")
        plain.leave(plain.card("order", "form button:not([type=button])"))
        plain.wait(lambda: "/api/jobs/" in plain.driver.current_url, "The status page should open")
        plain.wait(lambda: plain.find_all("[data-part=result]:not([hidden])"), "The order should be placed")
        assert plain.overflow() == 0
        plain.scripting(True)
        assert plain.axe(axe) == []
        plain.scripting(False)
        plain.shoot(f"shop-status-{width}-{language}")
    assert plain.complaints() == []


def test_payment_webhook_works_without_javascript(plain):
    simulate(plain)

    def look_again():
        plain.visit("/")
        return plain.text("[data-status]") == "paid"

    plain.wait(look_again, "The order should turn paid")
