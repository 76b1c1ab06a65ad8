"""The status page and ``<async-job>``, as people use them."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from async_accept.models import Job
from async_accept.problems import problem
from async_accept.states import State
from async_accept.testing import make_job

PROGRESS = {
    "current": 30,
    "total": 100,
    "unit": "orders",
    "message": "Order A-30",
    "percent": 30.0,
    "stage": "Charging",
}


def at(job):
    return f"/api/jobs/{job.pk}/"


def change(job, **columns):
    Job.objects.filter(pk=job.pk).update(updated_at=timezone.now(), **columns)
    job.refresh_from_db()


def report(job, percent, stage="Charging"):
    change(job, progress=PROGRESS | {"current": percent, "percent": float(percent), "stage": stage})


def finish(job):
    job.refresh_from_db()
    job.succeed({"status": 200, "headers": {}})


# --- With JavaScript -----------------------------------------------------------------------------------


def test_the_page_follows_the_job_to_its_end(browser, job):
    running = job(progress=PROGRESS)
    browser.visit(at(running))
    browser.run("addEventListener('pagehide', () => sessionStorage.setItem('reloaded', 1))")
    assert (browser.part("stage"), browser.part("count")) == ("Charging", "30 of 100 orders")
    report(running, 60)
    browser.wait(lambda: browser.part("percent") == "60%", "The bar should move")
    assert browser.part("count") == "60 of 100 orders"
    assert browser.find("progress").get_property("value") == 60
    finish(running)
    browser.wait_for_state("Succeeded")
    assert browser.find("[data-part=result]").is_displayed()
    browser.wait(lambda: not browser.find("[data-part=cancel]").is_displayed(), "The button should go")
    assert browser.find("time[data-time=finished_at]").is_displayed()
    assert browser.driver.title == "Succeeded · orders.bulk"
    assert browser.run("return sessionStorage.getItem('reloaded')") is None, "Refresh has reloaded the page"
    assert browser.complaints() == []


def test_the_page_does_not_reload_itself_where_the_script_runs(browser, job):
    browser.visit(at(job(retry_after=1)))
    browser.run("window.mark = 1")
    browser.wait(lambda: len(browser.polls()) >= 2, "The script should ask again and again")
    assert browser.run("return window.mark") == 1


def test_unchanged_answers_are_304(browser, job):
    browser.visit(at(job(progress=PROGRESS, retry_after=1)))
    browser.wait(lambda: len(browser.polls()) >= 3, "The script should ask three times")
    assert browser.polls()[:3] == [200, 304, 304]


def test_a_failure_is_an_alert(browser, job):
    running = job(progress=PROGRESS)
    browser.visit(at(running))
    running.fail(
        problem("rejected", "The input is not valid.", errors={"slug": ["Taken."]}, reference="c0ffee")
    )
    browser.wait_for_state("Failed")
    told = browser.wait(lambda: browser.text("[role=alert]"), "The failure should be told")
    for text in ("The request was rejected", "The input is not valid.", "Taken.", "c0ffee"):
        assert text in told
    assert browser.spoken() == ""


def test_a_failure_reads_the_same_live_and_after_a_reload(browser, job):
    running = job(progress=PROGRESS)
    browser.speak("de")
    browser.visit(at(running))
    errors = {"lines": [{"sku": ["Row 7: none left.", "Odd."]}, {}], "code": ["Unknown."]}
    running.fail(problem("rejected", "The input is not valid.", errors=errors, reference="c0ffee"))
    told = browser.wait(lambda: browser.text("[role=alert]"), "The failure should be told")
    assert "lines: sku: Row 7: none left.; Odd.\ncode: Unknown." in told
    assert "Die Anfrage wurde abgelehnt" in told
    browser.driver.refresh()
    assert browser.text("[role=alert]") == told
    assert browser.complaints() == []


def test_a_failure_is_gone_when_the_job_runs_again(browser, job):
    running = job(progress=PROGRESS, input={"data": {}})
    browser.visit(f"/embedded/{running.pk}/")
    running.fail(problem("failed"))
    browser.wait(lambda: browser.text("[role=alert]"), "The failure should be told")
    browser.run_again()
    browser.wait_for_state("Accepted")
    assert not browser.find("[role=alert]").is_displayed()


def test_run_again_is_offered_where_it_can_work(browser, job):
    for kept in (True, False):
        running = job(progress=PROGRESS, input={"data": {}} if kept else None)
        browser.visit(at(running))
        finish(running)
        browser.wait_for_state("Succeeded")
        assert browser.find("[data-part=rerun]").is_displayed() is kept
        browser.driver.refresh()
        assert browser.find("[data-part=rerun]").is_displayed() is kept


def test_attempts_are_told_as_they_come(browser, job):
    running = job()
    browser.visit(at(running))
    assert browser.part("attempt") == ""
    running.give_back(timedelta(hours=1), "A stumble.")
    browser.wait(
        lambda: browser.part("attempt") == "Waiting for attempt 2", "The next attempt should be named"
    )
    browser.driver.refresh()
    assert browser.part("attempt") == "Waiting for attempt 2"
    assert running.claim("w", 1)
    browser.wait(lambda: browser.part("attempt") == "Attempt 2", "The attempt should be named")
    assert browser.complaints() == []


def test_staff_without_permissions_follow_without_buttons(browser, job, django_user_model, client):
    helper = django_user_model.objects.create(username="helper", is_staff=True)
    helper.user_permissions.add(Permission.objects.get(codename="view_job"))
    client.force_login(helper)
    browser.log_in(client)
    running = job(progress=PROGRESS, input={"data": {}})
    browser.visit(at(running))
    report(running, 60)
    browser.wait(lambda: browser.part("percent") == "60%", "The bar should move")
    finish(running)
    browser.wait_for_state("Succeeded")
    assert browser.find("[data-part=result]").is_displayed()
    assert browser.find_all("async-job form") == []
    assert browser.complaints() == []


def test_cancel_keeps_the_focus_where_it_is(browser, job):
    running = job(progress=PROGRESS)
    browser.visit(at(running))
    button = browser.find("[data-part=cancel] button")
    button.click()
    browser.wait_for_state("Canceling")
    running.refresh_from_db()
    assert running.state == State.CANCELING
    assert browser.driver.switch_to.active_element == button
    running.end_canceled()
    browser.wait_for_state("Canceled")
    assert browser.driver.switch_to.active_element == button
    browser.run("arguments[0].blur()", button)
    browser.wait(lambda: not button.is_displayed(), "The button should go when the focus has left it")
    assert browser.complaints() == []


def test_run_again_goes_to_the_page_of_the_new_job(browser, job):
    failed = job("failed", input={"data": {}})
    browser.visit(at(failed))
    browser.find("[data-part=rerun] button").click()
    browser.wait(lambda: Job.objects.filter(rerun_of=failed.pk).exists(), "There should be a new job")
    again = Job.objects.get(rerun_of=failed.pk)
    browser.wait(lambda: browser.driver.current_url.endswith(at(again)), "The browser should go there")
    browser.wait_for_state("Accepted")


def test_a_button_falls_back_to_its_form(browser, job):
    """The session ended meanwhile: the form shows what the script cannot tell."""
    running = job()
    browser.visit(at(running))
    browser.cdp("Network.clearBrowserCookies")
    browser.find("[data-part=cancel] button").click()
    browser.wait(lambda: "credentials" in browser.text("h1"), "The form should be sent")
    assert "Log in" in browser.text("main")


def test_the_element_follows_in_any_page_and_tells_of_it(browser, job):
    running = job(progress=PROGRESS)
    browser.visit(f"/embedded/{running.pk}/")
    browser.run(
        "window.told = []; for (const name of ['progress', 'done', 'error'])"
        " document.addEventListener(`job:${name}`, (event) => told.push([event.type, event.detail.status]))"
    )
    report(running, 50)
    browser.wait(lambda: browser.part("percent") == "50%", "The bar should move")
    finish(running)
    browser.wait_for_state("Succeeded")
    told = browser.run("return told")
    assert told[0] == ["job:progress", "running"]
    assert told[-2:] == [["job:progress", "succeeded"], ["job:done", "succeeded"]]


def test_run_again_stays_in_a_page_that_is_not_the_jobs(browser, job):
    failed = job("failed", input={"data": {}})
    browser.visit(f"/embedded/{failed.pk}/")
    browser.find("[data-part=rerun] button").click()
    browser.wait_for_state("Accepted")
    again = Job.objects.get(rerun_of=failed.pk)
    assert "/embedded/" in browser.driver.current_url
    assert browser.find("async-job").get_attribute("url").endswith(at(again))
    browser.find("[data-part=cancel] button").click()
    browser.wait_for_state("Canceled")


def test_an_empty_element_takes_its_markup_from_the_status_page(browser, job):
    running = job(progress=PROGRESS)
    browser.visit(f"/embedded/{running.pk}/?empty")
    browser.wait(lambda: browser.find_all("async-job progress"), "The element should fill itself")
    assert browser.part("count") == "30 of 100 orders"
    assert not browser.find("async-job dl").is_displayed()
    assert browser.find("async-job a[data-url=url]").is_displayed()
    report(running, 50)
    browser.wait(lambda: browser.part("percent") == "50%", "The bar should move")
    assert browser.complaints() == []


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_an_empty_element_tells_also_of_a_job_that_has_ended(browser, job, state):
    """It may end between the 202 and the first look of the element."""
    ended, running = job(state), job()
    browser.visit(f"/embedded/{running.pk}/")
    browser.run(
        "window.told = []; for (const name of ['done', 'error'])"
        " document.addEventListener(`job:${name}`, (event) => told.push([event.type, event.detail.status]));"
        "document.querySelector('async-job').remove(); const job = document.createElement('async-job');"
        "job.setAttribute('url', arguments[0]); document.querySelector('main').append(job)",
        at(ended),
    )
    browser.wait(lambda: browser.run("return told.length"), "There should be an event")
    assert browser.run("return told") == [["job:done" if state == "succeeded" else "job:error", state]]


@pytest.mark.parametrize(
    ("network", "status", "told"),
    [("", 404, "No such job"), ("window.fetch = () => Promise.reject()", 0, "/api/jobs/")],
)
def test_an_empty_element_that_finds_no_job_says_so(browser, job, network, status, told):
    running = job()
    browser.visit(f"/embedded/{running.pk}/")
    Job.objects.update(owner=None)
    browser.run(
        f"{network}; document.addEventListener('job:error', (event) => {{ window.told = event.detail; }});"
        "const job = document.createElement('async-job'); job.setAttribute('url', arguments[0]);"
        "document.querySelector('main').replaceChildren(job)",
        at(running),
    )
    browser.wait(lambda: browser.run("return window.told"), "There should be an event")
    assert browser.run("return told") == {"error": {"status": status}}
    assert told in browser.text("async-job")
    assert all("404" in complaint for complaint in browser.complaints())


def test_the_element_keeps_to_its_own_language(browser, job):
    """The page around it is English; what the server has written in German is not made English by an update."""
    running = job(progress=PROGRESS | {"current": 1234.5, "total": 5000})
    browser.speak("de")
    browser.visit(f"/embedded/{running.pk}/")
    assert browser.find("html").get_attribute("lang") == "en"
    assert browser.part("count") == "1.234,5 von 5.000 orders"
    change(running, progress=PROGRESS | {"current": 2234.5, "total": 5000})
    browser.wait(lambda: browser.part("count") == "2.234,5 von 5.000 orders", "The count should grow")
    assert browser.part("state") == "Läuft"


def test_digits_and_calendar_are_those_of_the_server(browser, job):
    running = job(progress=PROGRESS)
    browser.speak("ar")
    browser.visit(at(running))
    report(running, 60)
    browser.wait(lambda: browser.part("percent") == "60%", "The bar should move")
    assert browser.part("count") == "60 of 100 orders"
    assert str(running.created_at.year) in browser.text("time[data-time=created_at]")


def test_halves_of_a_percent_are_rounded_as_the_server_does(browser, job):
    running = job(progress=PROGRESS | {"percent": 2.5})
    browser.visit(at(running))
    assert browser.part("percent") == "3%"
    report(running, 4.5)
    browser.wait(lambda: browser.part("percent") == "5%", "The bar should move")


def test_a_screen_reader_hears_of_stages_and_not_of_every_step(browser, job):
    running = job(progress=PROGRESS, retry_after=1)
    browser.visit(f"/embedded/{running.pk}/")
    browser.run(
        "window.said = []; new MutationObserver(() => said.push(document.querySelector('[role=status]').textContent))"
        ".observe(document.querySelector('[role=status]'), {childList: true})"
    )
    for percent in (31, 32):
        report(running, percent)
        browser.wait(lambda p=percent: browser.part("percent") == f"{p}%", "The bar should move")
    assert browser.run("return said") == []
    report(running, 33, stage="Shipping")
    browser.wait(lambda: browser.part("stage") == "Shipping", "The stage should change")
    assert browser.run("return said") == ["Running Shipping 33%"]


def test_a_server_that_is_away_is_asked_again(browser, job):
    running = job(progress=PROGRESS)
    browser.visit(f"/embedded/{running.pk}/")
    browser.run(
        "window.said = []; new MutationObserver(() => said.push(document.querySelector('[role=status]').textContent))"
        ".observe(document.querySelector('[role=status]'), {childList: true})"
    )
    browser.count_requests()
    browser.offline(True)
    browser.wait(lambda: "does not answer" in browser.part("note"), "The page should tell of it")
    browser.wait(lambda: browser.asked() >= 2, "The page should ask again")
    assert browser.run("return said") == [browser.part("note")], "It should be announced, once"
    browser.offline(False)
    report(running, 50)
    browser.wait(lambda: browser.part("percent") == "50%", "The page should go on", seconds=20)
    assert not browser.find("[data-part=note]").is_displayed()


def test_a_job_that_is_gone_is_not_asked_for_any_more(browser, job):
    running = job()
    browser.visit(f"/embedded/{running.pk}/")
    Job.objects.all().delete()
    browser.wait(lambda: "can no longer be followed" in browser.part("note"), "The page should tell of it")


def test_a_hidden_tab_asks_nothing(browser, job):
    running = job(retry_after=1)
    browser.visit(f"/embedded/{running.pk}/")
    browser.hide()
    browser.count_requests()
    # Longer than Retry-After with its jitter: nothing is to be seen but time going by.
    started = browser.run("return performance.now()")
    browser.wait(lambda: browser.run("return performance.now()") - started > 2000, "Two seconds should pass")
    assert browser.asked() == 0
    report(running, 70)
    browser.hide(False)
    browser.wait(lambda: browser.part("percent") == "70%", "A tab that is seen again should be current")


def test_an_element_that_was_taken_away_asks_nothing_and_goes_on_when_it_is_back(browser, job):
    running = job(progress=PROGRESS, retry_after=1)
    browser.visit(f"/embedded/{running.pk}/")
    browser.wait(browser.polls, "The script should ask")
    browser.run("window.taken = document.querySelector('async-job'); taken.remove()")
    browser.count_requests()
    started = browser.run("return performance.now()")
    browser.wait(lambda: browser.run("return performance.now()") - started > 2000, "Two seconds should pass")
    assert browser.asked() == 0
    report(running, 80)
    browser.run("document.querySelector('main').append(taken)")
    browser.wait(lambda: browser.part("percent") == "80%", "It should be current again")


def test_a_double_click_runs_a_job_again_once(browser, job):
    failed = job("failed", input={"data": {}})
    browser.visit(f"/embedded/{failed.pk}/")
    browser.run("for (const _ of [1, 2]) arguments[0].click()", browser.find("[data-part=rerun] button"))
    browser.wait_for_state("Accepted")
    assert Job.objects.filter(rerun_of=failed.pk).count() == 1


# --- Without JavaScript --------------------------------------------------------------------------------


def test_without_javascript_the_page_reloads_itself_until_the_end(browser, job):
    browser.scripting(False)
    running = job(progress=PROGRESS, retry_after=1)
    browser.visit(at(running))
    browser.wait(lambda: browser.part("percent") == "30%", "The bar should be there")
    report(running, 60)
    browser.wait(lambda: browser.part("percent") == "60%", "The page should reload itself")
    finish(running)
    browser.wait_for_state("Succeeded")
    browser.find("[data-part=result]")
    assert browser.complaints() == []


def test_without_javascript_the_buttons_are_forms(browser, job):
    browser.scripting(False)
    running = job(input={"data": {}})
    browser.visit(at(running))
    browser.press("[data-part=cancel] button")
    browser.wait_for_state("Canceling")
    assert browser.driver.current_url.endswith(at(running))
    running.end_canceled()
    browser.wait_for_state("Canceled")
    browser.press("[data-part=rerun] button")
    browser.wait_for_state("Accepted")
    assert browser.driver.current_url.endswith(at(Job.objects.get(rerun_of=running.pk)))


# --- How it looks --------------------------------------------------------------------------------------

ERRORS = {"lines": ["Row 7: no such product."]}
FAILURE = problem("rejected", "The input is not valid.", errors=ERRORS, reference="c0ffee12")
STATES = {
    "accepted": {},
    "running": {"progress": PROGRESS},
    "unknown": {"state": "running", "progress": PROGRESS | {"total": None, "percent": None}},
    "canceling": {"progress": PROGRESS},
    "succeeded": {"result": {"paid": 97}},
    "failed": {"progress": PROGRESS, "problem": FAILURE},
    "canceled": {},
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_state_fits_and_axe_finds_no_fault(browser, job, axe, width, scheme):
    browser.look(width, scheme, prefers_reduced_motion="reduce")
    for name, columns in STATES.items():
        browser.visit(at(job(**{"state": name} | columns)))
        assert browser.overflow() <= 0, name
        assert browser.complaints() == [], name
        for button in browser.find_all(".async-job-button"):
            if button.is_displayed():
                assert min(button.size.values()) >= 44, (name, button.text)
        browser.shoot(f"job-{name}-{width}-{scheme}")
        assert browser.axe(axe) == [], name


def test_an_error_page_fits_and_axe_finds_no_fault(browser, axe):
    browser.look(390)
    browser.cdp("Network.clearBrowserCookies")
    browser.visit("/api/jobs/nothing/")
    browser.shoot("no-such-job-390-light")
    assert browser.axe(axe) == []
    assert all("401" in complaint or "403" in complaint for complaint in browser.complaints())


def test_right_to_left_and_forced_colors(browser, job):
    browser.look(390, "dark", forced_colors="active")
    browser.speak("ar")
    browser.visit(at(job(progress=PROGRESS)))
    assert browser.find("html").get_attribute("dir") == "rtl"
    head = browser.find(".async-job-operation").rect["x"], browser.find(".async-job-state").rect["x"]
    assert head[0] > head[1], "What comes first stands at the right"
    assert browser.overflow() <= 0
    assert 0 <= browser.find("main").rect["x"] <= 20
    browser.shoot("job-running-rtl-forced-colors")


def test_motion_stops_where_it_is_not_welcome(browser, job):
    moves = "return document.getAnimations().length"
    waiting = at(job(progress=PROGRESS | {"percent": None}))
    browser.look(prefers_reduced_motion="no-preference")
    browser.visit(waiting)
    browser.shoot("job-unknown-moving")
    assert browser.run(moves) == 1
    browser.look(prefers_reduced_motion="reduce")
    assert browser.run(moves) == 0


def test_an_embedded_element_fits_its_page(browser, job, axe):
    browser.look(390)
    browser.visit(f"/embedded/{job(progress=PROGRESS).pk}/")
    assert browser.overflow() <= 0
    browser.shoot("embedded-390-light")
    assert browser.axe(axe) == []


def test_anonymous_callers_follow_by_the_url(browser):
    browser.cdp("Network.clearBrowserCookies")
    running = make_job(state="running", operation="orders.bulk", progress=PROGRESS)
    browser.visit(at(running))
    browser.find("[data-part=cancel] button").click()
    browser.wait_for_state("Canceling")
    assert Job.objects.get().created_at < timezone.now() + timedelta(seconds=1)
