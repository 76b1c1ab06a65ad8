"""REST framework's browsable API with the panel, and forms that make no second job."""

from async_accept.models import Job
from async_accept.testing import run_accepted_jobs

from .test_job_page import PROGRESS, at, finish, report


def fill(browser, **values):
    for name, value in values.items():
        field = browser.find(f"#post-object-form [name={name}]")
        field.clear()
        field.send_keys(value)


def submit(browser, form="#post-object-form"):
    browser.run("arguments[0].click()", browser.find(f"{form} button"))


def test_a_form_shows_the_job_and_a_reload_makes_no_second(browser):
    browser.visit("/api/notes/")
    fill(browser, slug="a", title="A")
    browser.leave("#post-object-form button")
    browser.wait(lambda: browser.find_all("async-job"), "There should be a panel")
    assert browser.part("state") == "Accepted"
    browser.driver.refresh()
    browser.wait(lambda: browser.find_all("async-job"), "There should be a panel again")
    assert Job.objects.count() == 1
    assert browser.find("#post-object-form [name=slug]").get_property("value") == ""
    browser.shoot("browsable-api-1280")
    run_accepted_jobs()
    browser.wait_for_state("Succeeded")


def test_the_browsable_api_of_a_running_job_sees_it_finish(browser, job):
    running = job(progress=PROGRESS)
    browser.visit(f"{at(running)}?format=api")
    report(running, 60)
    browser.wait(lambda: browser.part("percent") == "60%", "The bar should move")
    finish(running)
    browser.wait_for_state("Succeeded")
    assert not browser.find("[data-part=note]").is_displayed()


def test_a_double_click_on_raw_data_makes_one_job(browser):
    browser.visit("/api/notes/")
    browser.find("a[href='#post-generic-content-form']").click()
    area = browser.find("#post-generic-content-form textarea")
    browser.wait(area.is_displayed, "The tab should open")
    area.clear()
    area.send_keys('{"slug": "raw", "title": "Raw"}')
    button = browser.find("#post-generic-content-form button")
    browser.run("arguments[0].click(); arguments[0].click()", button)
    browser.wait(lambda: browser.find_all("async-job"), "There should be a panel")
    browser.wait_for_state("Accepted")
    assert Job.objects.count() == 1
    run_accepted_jobs()
    browser.wait_for_state("Succeeded")


def test_the_panel_adds_no_violation_and_no_fault(browser, axe):
    browser.look(390)
    browser.visit("/api/notes/")
    fill(browser, slug="a", title="A")
    submit(browser)
    browser.wait(lambda: browser.find_all("async-job"), "There should be a panel")
    # REST framework's own templates have inline styles; ours add nothing to them.
    assert not [told for told in browser.complaints() if "async" in told]
    browser.shoot("browsable-api-390")
    assert browser.axe(axe, ".async-job-panel") == []
