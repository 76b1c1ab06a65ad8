"""A positive control: what the other tests hold to be absent would be noticed."""

import pytest


@pytest.mark.parametrize("kind", ["style", "script", "handler", "elsewhere"])
def test_a_page_that_breaks_the_policy_is_noticed(browser, kind):
    browser.visit(f"/violating/{kind}/")
    assert any("Content Security Policy" in told for told in browser.complaints())


def test_a_page_that_keeps_to_the_policy_is_not(browser):
    browser.visit("/violating/nothing/")
    assert browser.complaints() == []


def test_a_page_that_is_too_wide_is_noticed(browser):
    browser.look(390)
    browser.visit("/violating/nothing/")
    assert browser.overflow() == 0
    browser.run("document.querySelector('p').textContent = 'x'.repeat(500)")
    assert browser.overflow() > 0


def test_axe_finds_a_fault_where_there_is_one(browser, axe):
    browser.visit("/violating/nothing/")
    assert browser.axe(axe) == []
    browser.run("document.querySelector('main').append(document.createElement('button'))")
    assert any("button-name" in fault for fault in browser.axe(axe))
