"""The inbox of the shop in a browser: notices over real HTTP, retries, the dead letter, and the second sending."""

import pytest

from .test_demo import shop  # noqa: F401 a fixture
from .test_shop import alice  # noqa: F401 a fixture

#: The demo waits 2, 4 and 8 seconds, and its relay looks every three.
SECONDS = 40


def open_inbox(browser):
    """Go to the inbox by the card; register it, if that is not done."""
    browser.leave("#inbox .buttons > *")
    browser.wait(lambda: browser.find_all("[name=do][value=job]"), "The inbox should be registered")


@pytest.fixture
def inbox(alice):  # noqa: F811
    open_inbox(alice)
    return alice


def newest(browser):
    """The state and the attempts of the newest notice."""
    cells = [row.text.split() for row in browser.find_all(".notice:first-child tbody tr")]
    return browser.text(".notice:first-child .outcome"), [(cell[0], *cell[2:]) for cell in cells]


def test_finished_job_is_told_again_until_the_receiver_is_back(inbox, axe):
    inbox.leave("[name=do][value=down]")
    inbox.leave("[name=do][value=job]")
    inbox.wait(lambda: newest(inbox)[1][:1] == [("1", "verified", "503")], "It should be refused", SECONDS)
    inbox.wait(lambda: "the next attempt is" in inbox.text(".notice"), "It should be tried again", SECONDS)
    inbox.wait(lambda: newest(inbox)[0] == "failed", "It should be given up", SECONDS)
    assert newest(inbox)[1] == [(str(number), "verified", "503") for number in (1, 2, 3, 4)]
    for width in (1280, 390):
        for scheme in ("light", "dark"):
            inbox.look(width, scheme)
            assert inbox.overflow() == 0
            assert inbox.axe(axe) == []
            inbox.shoot(f"inbox-{width}-{scheme}")
    inbox.leave("[name=do][value=up]")
    inbox.leave(".notice:first-child button")
    inbox.wait(lambda: newest(inbox)[0] == "delivered", "It should be delivered", SECONDS)
    assert newest(inbox)[1][-1] == ("5", "verified", "204")
    assert inbox.complaints() == []


def test_inbox_works_without_javascript(alice):  # noqa: F811
    alice.scripting(False)
    alice.visit("/")
    open_inbox(alice)
    before = alice.text("[role=status]")
    alice.leave("[name=do][value=job]")

    def look_again():
        alice.leave("noscript a")
        is_new = alice.text("[role=status]") != before
        return is_new and newest(alice)[0] == "delivered" and newest(alice)[1]

    assert alice.wait(look_again, "A notice", SECONDS) == [("1", "verified", "204")]
    assert alice.complaints() == []
