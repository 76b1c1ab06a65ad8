"""The admin of jobs, as staff use it: on a laptop and on a phone, by day and by night, while jobs go on."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone
from selenium.webdriver.support.select import Select

from async_accept.jobs import results
from async_accept.models import Job
from async_accept.states import State

LIST = "/admin/async_accept/job/"
DASHBOARD = f"{LIST}dashboard/"
LOOK = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]


def progress(percent, stage="Charging"):
    return {
        "current": percent,
        "total": 100,
        "unit": "orders",
        "message": "Order A-30",
        "percent": float(percent),
        "stage": stage,
    }


def at(job):
    return f"{LIST}{job.pk}/change/"


def change(job, **columns):
    Job.objects.filter(pk=job.pk).update(updated_at=timezone.now(), **columns)
    job.refresh_from_db()


def finish(job):
    job.refresh_from_db()
    assert results.succeed(job, results.encode({"paid": 97}))


def lowest_line(browser):
    """The lowest line of the log that is in sight in its frame."""
    return browser.run(
        "const frame = document.querySelector('.aa-log'), text = frame.firstChild;"
        "const box = frame.getBoundingClientRect(), range = document.createRange();"
        "let start = 0, lowest = null;"
        "for (const line of text.data.split('\\n')) {"
        "  range.setStart(text, start); range.setEnd(text, start + line.length);"
        "  const at = range.getBoundingClientRect();"
        "  if (at.top >= box.top && at.bottom <= box.bottom) lowest = line;"
        "  start += line.length + 1;"
        "} return lowest"
    )


def cell(browser, job, part):
    return browser.text(f"[data-aa-job='{job.pk.hex}'][data-aa-part={part}]")


@pytest.fixture
def alice(transactional_db, django_user_model):
    """One of the staff."""
    return django_user_model.objects.create_superuser("alice", password="alice")


# --- Looking while jobs go on ------------------------------------------------------------------------------


def test_the_list_follows_its_jobs(browser, job):
    running, waiting = job(progress=progress(30)), job("accepted")
    browser.visit(LIST)
    assert cell(browser, running, "state").startswith("▸\nrunning")
    assert "30/100 orders" in cell(browser, running, "state")
    assert cell(browser, waiting, "state") == "○\naccepted"
    browser.run("window.mark = 1")
    change(running, progress=progress(60))
    browser.wait(lambda: "60/100 orders" in cell(browser, running, "state"), "The bar should move")
    assert browser.find(f"[data-aa-job='{running.pk.hex}'] progress").get_property("value") == 60
    finish(running)
    browser.wait(lambda: cell(browser, running, "state") == "✓\nsucceeded", "The end should be shown")
    assert waiting.claim("worker@test", 1)
    browser.wait(lambda: cell(browser, waiting, "attempt") == "1", "The other job is followed as well")
    finish(waiting)
    browser.wait(lambda: not browser.find_all("[data-aa-active]"), "Nothing should be active any more")
    assert browser.run("return window.mark") == 1, "The list has reloaded itself"
    assert set(browser.polls()) == {200}
    assert browser.complaints() == []


def test_one_request_asks_for_all_jobs_and_a_hidden_tab_asks_nothing(browser, job):
    jobs = [job(progress=progress(30)) for _ in range(3)]
    browser.visit(LIST)
    hide = (
        "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    browser.wait(browser.polls, "The list should ask")
    asked = browser.run(
        "return performance.getEntriesByType('resource').filter(e => e.initiatorType === 'fetch')[0].name"
    )
    assert all(each.pk.hex in asked for each in jobs)
    browser.run(hide, True)
    before = len(browser.polls())
    started = browser.run("return performance.now()")
    # Longer than it pauses between two questions: nothing is to be seen but time going by.
    browser.wait(
        lambda: browser.run("return performance.now()") - started > 3000, "Three seconds should pass"
    )
    assert len(browser.polls()) <= before + 1  # one may have been on its way
    change(jobs[0], progress=progress(70))
    browser.run(hide, False)
    browser.wait(
        lambda: "70/100" in cell(browser, jobs[0], "state"), "A tab that is seen again should be current"
    )


def test_a_server_that_is_away_is_asked_again(browser, job):
    running = job(progress=progress(30))
    browser.visit(LIST)
    browser.offline(True)
    browser.wait(lambda: any("ERR_" in told for told in browser.complaints()), "A question should fail")
    browser.offline(False)
    change(running, progress=progress(50))
    browser.wait(lambda: "50/100" in cell(browser, running, "state"), "The list should go on", seconds=20)


def test_the_page_of_a_job_follows_it_and_shows_what_it_ended_with(browser, job):
    running = job(progress=progress(30), input={"card": {"token": "s3cret"}, "ids": [1, 2]})
    browser.visit(at(running))
    assert "30/100 orders" in browser.text(".aa-now")
    assert not browser.find_all("#aa-result")
    assert "s3cret" not in browser.driver.page_source
    change(running, progress=progress(60))
    browser.wait(lambda: "60/100 orders" in browser.text(".aa-now"), "The bar should move")
    finish(running)
    browser.wait(lambda: browser.find_all("#aa-result"), "The result should be shown")
    assert '"paid": 97' in browser.text("section:has(#aa-result)")
    assert "succeeded" in browser.text(".aa-now")
    assert "Attempt 1 began" in browser.text(".aa-timeline")
    assert browser.complaints() == []


def test_every_part_of_the_page_stays_current_without_a_reload(browser, job):
    followed = job(
        "accepted", max_attempts=3, retry_when_lost=True, created_at=timezone.now() - timedelta(seconds=30)
    )
    browser.visit(at(followed))
    browser.run("window.mark = 1")
    assert "0 of 3" in browser.text(".aa-facts")

    assert followed.claim("worker@test", 1)
    browser.wait(
        lambda: "Attempt 1 began" in browser.text(".aa-timeline"), "The claim should be in the timeline"
    )
    assert "1 of 3" in browser.text(".aa-facts")
    assert "worker@test" in browser.text(".aa-facts")

    change(followed, progress=progress(10, stage="Validating"), log="12:00 first")
    browser.wait(lambda: browser.find_all(".aa-log"), "The log should begin")
    assert browser.text(".aa-message") == "Validating Order A-30"
    change(followed, progress=progress(20), log="12:00 first\n12:01 second")
    browser.wait(lambda: "12:01 second" in browser.text(".aa-log"), "The log should go on")
    assert browser.text(".aa-message") == "Charging Order A-30"

    assert followed.lose("lease")
    browser.wait(lambda: "Its worker gave no sign" in browser.text(".aa-timeline"), "The loss should be told")
    assert "Waits for its next attempt" in browser.text(".aa-timeline")
    assert followed.claim("worker@test", 1)
    finish(followed)
    browser.wait(lambda: browser.find_all("#aa-result"), "The result should be shown")
    assert browser.find_all(".aa-buttons a[href$='/purge/']")
    assert not browser.find_all("[data-aa-active]")
    assert browser.run("return window.mark") == 1, "The page has reloaded itself"
    assert browser.complaints() == []


def test_a_page_that_renews_itself_keeps_the_place_and_the_focus(browser, job):
    long = "\n".join(f"12:00 line {n}" for n in range(200))
    running = job(progress=progress(30), input={"rows": list(range(60))}, log=long)
    browser.visit(at(running))
    where = "return Math.round(document.getElementById('aa-log').getBoundingClientRect().top)"
    browser.run("document.getElementById('aa-log').scrollIntoView(); scrollBy(0, -40)")
    browser.run("document.querySelector('.aa-history').focus({preventScroll: true})")
    before = browser.run(where)
    finish(running)
    browser.wait(lambda: browser.find_all("#aa-result"), "The result should be shown, above of what is read")
    assert abs(browser.run(where) - before) <= 1
    assert browser.run("return document.activeElement.className") == "aa-history"


def test_the_focus_stays_near_a_button_that_is_gone(browser, job):
    running = job()
    browser.visit(at(running))
    browser.run("document.querySelector('.aa-buttons a[href$=\"/cancel/\"]').focus()")
    finish(running)
    browser.wait(lambda: browser.find_all("#aa-result"), "The result should be shown")
    assert browser.run("return document.activeElement.dataset.aaRegion") == "header"


def test_a_job_that_is_gone_is_shown_and_told_as_gone(browser, job):
    """The page keeps what it showed of the job, and offers nothing that cannot work any more."""
    running = job()
    for url in (LIST, at(running)):
        browser.visit(url)
        assert "running" in browser.text("[data-aa-part=state]")
        if url != LIST:
            browser.run("document.querySelector('.aa-buttons a[href$=\"/cancel/\"]').focus()")
        kept = Job.objects.filter(pk=running.pk).values().get()
        Job.objects.filter(pk=running.pk).delete()
        browser.wait(
            lambda: browser.text("[data-aa-part=state]") == "This job is gone.", "It should be told as gone"
        )
        assert browser.find_all("[data-aa-active]") == []
        Job.objects.create(**kept)
    assert browser.find_all(".aa-buttons a") == []
    assert browser.run("return document.querySelector('[data-aa-spoken]').textContent") == "This job is gone."
    assert browser.run("return 'aaButtons' in document.activeElement.dataset")


def test_what_somebody_selects_is_not_pulled_away(browser, job):
    waiting = job("accepted")
    browser.visit(at(waiting))
    browser.run("getSelection().selectAllChildren(document.querySelector('.aa-copy'))")
    assert waiting.claim("worker@test", 1)
    browser.wait(lambda: "Attempt 1 began" in browser.text(".aa-timeline"), "The rest should be current")
    assert browser.run("return getSelection().toString()") == str(waiting.pk)
    assert "worker@test" not in browser.text(".aa-facts")
    browser.run("getSelection().removeAllRanges()")
    browser.wait(lambda: "worker@test" in browser.text(".aa-facts"), "It should catch up")


def test_a_log_shows_its_newest_line_and_stays_where_somebody_reads(browser, job):
    lines = [f"12:00 line {n}" for n in range(150)]
    running = job(log="\n".join(lines))
    for scripting in (False, True):
        browser.scripting(scripting)
        browser.visit(at(running))
        assert lowest_line(browser) == "12:00 line 149"
    change(running, log="\n".join([*lines, "12:01 newest"]))
    browser.wait(lambda: lowest_line(browser) == "12:01 newest", "The newest line should be seen")
    browser.run("document.querySelector('.aa-log').scrollTop -= 800")
    read = lowest_line(browser)
    assert read != "12:01 newest"
    change(running, log="\n".join([*lines, "12:01 newest", "12:02 next"]))
    browser.wait(lambda: "12:02 next" in browser.text(".aa-log"), "The log should go on")
    assert lowest_line(browser) == read


def test_a_screen_reader_hears_of_a_change_of_state_and_of_nothing_else(browser, job):
    followed = job("accepted")
    browser.visit(at(followed))
    browser.run(
        "window.heard = [];"
        "for (const place of document.querySelectorAll('[role=status], [role=alert], [aria-live]'))"
        "  new MutationObserver(() => window.heard.push(place.textContent))"
        "    .observe(place, {childList: true, characterData: true, subtree: true});"
    )
    assert followed.claim("worker@test", 1)
    for percent in (30, 60):
        change(followed, progress=progress(percent))
        browser.wait(lambda done=percent: f"{done}/100" in browser.text(".aa-now"), "The bar should move")
    finish(followed)
    browser.wait(lambda: browser.find_all("#aa-result"), "The result should be shown")
    assert browser.run("return window.heard") == ["running", "succeeded"]


# --- Doing something about it ------------------------------------------------------------------------------


def choose(browser, action, *jobs, query=""):
    """Tick *jobs* in the list and send the menu."""
    browser.visit(LIST + query)
    for each in jobs:
        browser.find(f"input.action-select[value='{each.pk}']").click()
    Select(browser.find("select[name=action]")).select_by_value(action)
    browser.leave(".actions button[type=submit]")
    browser.wait(lambda: browser.find_all(".aa-question"), "There should be a question")


@pytest.mark.parametrize("scripting", [True, False])
def test_cancel_asks_first(browser, job, scripting):
    running, other, ended = job(), job(), job("succeeded", result=1)
    browser.scripting(scripting)
    choose(browser, "cancel", running, ended)
    assert browser.text(".aa-question") == "Cancel 1 job?"
    left = "Left alone, because they have ended or were asked to stop already"
    assert browser.text(".aa-facts").split("\n") == ["Chosen", "2", left, "1"]
    browser.press(".cancel-link")
    browser.wait(lambda: browser.find_all("#result_list"), "No should lead back")
    running.refresh_from_db()
    assert running.state == State.RUNNING

    choose(browser, "cancel", running, ended)
    browser.press("[type=submit][value^=Yes]")
    browser.wait(lambda: browser.find_all(".messagelist"), "The page should tell what was done")
    assert browser.text(".messagelist") == "1 job was asked to stop."
    for each in (running, other, ended):
        each.refresh_from_db()
    assert (running.state, other.state, ended.state) == ("canceling", "running", "succeeded")
    assert [entry.object_id for entry in LogEntry.objects.all()] == [str(running.pk)]
    assert browser.complaints() == []


def test_the_buttons_of_a_job_ask_first(browser, job):
    running = job(input={"data": {}})
    browser.visit(at(running))
    browser.press(f".aa-buttons a[href$='{running.pk}/cancel/']")
    browser.wait(lambda: browser.find_all(".aa-question"), "There should be a question")
    assert str(running.pk) in browser.text(".aa-facts")
    browser.press("[type=submit][value^=Yes]")
    browser.wait(lambda: "canceling" in browser.text(".aa-now"), "The job should be asked to stop")
    running.end_canceled()
    browser.wait(
        lambda: browser.find_all(".aa-buttons a[href$='/rerun/']"), "It should be offered to run again"
    )
    assert not browser.find_all(".aa-buttons a[href$='/cancel/']")
    browser.press(".aa-buttons a[href$='/purge/']")
    browser.press("[type=submit][value^=Yes]")
    browser.wait(lambda: "1 job was purged" in browser.text(".messagelist"), "The list should tell of it")
    assert not Job.objects.exists()
    assert browser.complaints() == []


@pytest.mark.parametrize("scripting", [True, False])
def test_an_export_comes_as_a_download_and_its_page_says_so(browser, job, tmp_path, scripting):
    running, other = job(), job()
    browser.scripting(scripting)
    browser.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    query = "?q=op%3Aorders&state=running"
    choose(browser, "export", running, other, query=query)
    assert browser.text(".aa-question") == "Export 2 jobs as CSV?"
    assert "comes as a download" in browser.text("#content-main")
    browser.press("[type=submit][value='Yes, export']")
    (file,) = browser.wait(lambda: list(tmp_path.glob("jobs-*.csv")), "There should be a file")
    browser.wait(lambda: len(file.read_text().splitlines()) == 3, "It should have a head and two jobs")
    if scripting:
        assert "The file is on its way" in browser.text("[role=status]")
        assert not browser.find(".aa-question").is_displayed()
        assert not browser.find("#content-main form [type=submit]").is_displayed()
        assert browser.run("return document.activeElement.textContent") == "Back to the list"
    browser.press(".cancel-link")
    browser.wait(lambda: browser.find_all("#result_list"), "There should be the list")
    assert browser.driver.current_url == browser.url + LIST + query
    assert browser.complaints() == []


def test_without_javascript_all_of_it_works(browser, day):
    browser.scripting(False)
    browser.visit("/admin/async_accept/")
    browser.press(".aa-lead a")
    browser.press("summary")
    assert len([row for row in browser.find_all("details tbody tr") if row.is_displayed()]) == 24
    assert browser.find(".aa-chart").is_displayed()
    browser.press(".aa-cards a[href*='attention=failed']")

    browser.wait(lambda: browser.find_all("#result_list"), "The figure should lead to its jobs")
    assert {cell.text for cell in browser.find_all(".field-state_column")} == {"✕\nfailed"}
    browser.press(".object-tools a[href*='columns=all']")
    browser.wait(lambda: browser.find_all(".field-worker_column"), "There should be more columns")
    browser.find("#searchbar").send_keys("op:payments.")
    browser.press("#changelist-search [type=submit]")
    browser.wait(lambda: "op%3Apayments" in browser.driver.current_url, "The search should be asked for")
    found = {cell.text.replace("\n", "") for cell in browser.find_all(".field-operation_column")}
    assert found
    assert all(name.startswith("payments.") for name in found)
    browser.press(".field-operation_column a")

    browser.wait(lambda: browser.find_all(".aa-timeline"), "There should be the page of the job")
    assert browser.text(".aa-now") == "✕\nfailed"
    assert not browser.find(".aa-traceback pre").is_displayed()
    browser.press(".aa-traceback summary")
    assert "ValueError" in browser.text(".aa-traceback pre")
    before = Job.objects.count()
    for deed, change in (("rerun", 1), ("purge", -1)):
        browser.press(f".aa-buttons a[href$='/{deed}/']")
        browser.press("[type=submit][value^=Yes]")
        browser.wait(lambda: browser.find_all(".messagelist"), "The page should tell what was done")
        before += change
        assert Job.objects.count() == before
    assert browser.complaints() == []


def test_people_find_their_way_to_the_dashboard_and_back(browser, day):
    browser.visit("/admin/async_accept/")
    browser.press(".aa-lead a")
    browser.wait(lambda: browser.find_all(".aa-cards"), "There should be the dashboard")
    cards = {item.text.split("\n")[0]: item.text.split("\n")[1] for item in browser.find_all(".aa-cards li")}
    assert cards["Waiting"] == "2"
    assert cards["Running"] == "4"
    failed = Job.objects.filter(state="failed", finished_at__gt=timezone.now() - timedelta(hours=24)).count()
    assert cards["Failed in 24 hours"] == str(failed)
    assert browser.run("return document.querySelectorAll('.aa-chart rect').length") > 24
    browser.press("summary")
    assert len(browser.find_all("details tbody tr")) == 24
    browser.press(".aa-cards a[href*='state=leased']")
    browser.wait(lambda: browser.find_all("#result_list"), "The figure should lead to its jobs")
    assert len(browser.find_all("#result_list tbody tr")) == 4  # three that run and one that is to stop
    assert browser.complaints() == []
