"""HTML for browsers, JSON for everybody else."""

import json
import re
from html import unescape
from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser, Permission
from django.contrib.staticfiles import finders
from django.core.files.uploadedfile import SimpleUploadedFile
from django.template import Context, Template
from django.test import Client
from django.utils import timezone, translation
from django.utils.html import escape
from rest_framework import decorators

from async_accept import testing
from async_accept.http.panel import debug_traceback
from async_accept.models import Job
from async_accept.problems import problem
from async_accept.states import FINAL, State
from async_accept.testing import run_accepted_jobs

pytestmark = pytest.mark.django_db

PROGRESS = {
    "current": 1300,
    "total": 5200,
    "unit": "orders",
    "message": "Order 1300",
    "percent": 25.0,
    "stage": "Charging",
}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def browser(alice):
    client = Client(headers={"accept": BROWSER})
    client.force_login(alice)
    return client


@pytest.fixture
def make_job(alice):
    def make(state=State.RUNNING, **columns):
        own = {"owner": alice, "operation": "orders.bulk", "input": {"x": 1, "y": 2}}
        return testing.make_job(state=state, **own, **columns)

    return make


def url(job, endpoint=""):
    return f"/api/jobs/{job.pk}/{endpoint}"


def page(response):
    assert response["Content-Type"].startswith("text/html")
    return response.content.decode()


# --- Who gets HTML -----------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/plain, */*"])
def test_clients_that_do_not_ask_for_html_get_json(browser, make_job, accept):
    headers = {"accept": accept} if accept else {}
    client = Client(headers=headers)
    client.cookies = browser.cookies
    response = client.get(url(make_job()))
    assert response["Content-Type"] == "application/json"
    assert "Refresh" not in response


def test_a_browser_gets_the_page(browser, make_job):
    html = page(browser.get(url(make_job())))
    assert "<async-job" in html
    assert "Accept" in browser.get(url(make_job()))["Vary"]


def test_the_browsable_api_can_be_asked_for(browser, make_job):
    html = page(browser.get(url(make_job()) + "?format=api"))
    assert "Django REST framework" in html
    assert "<async-job" in html


def test_the_panel_of_the_browsable_api_has_urls_without_format(browser, make_job):
    job = make_job()
    html = page(browser.get(url(job) + "?format=api"))
    assert f'<async-job class="async-job" url="{url(job)}"' in html
    assert f"http://testserver{url(job)}</pre>" in html.split("curl", 1)[1]
    assert f'action="{url(job, "cancel/")}"' in html


def test_a_job_is_a_page_that_offers_to_log_in(make_job, settings):
    settings.LOGIN_URL = "admin:login"
    response = Client(headers={"accept": BROWSER}).get(url(make_job()))
    assert response.status_code == 401
    assert (
        page(response).count("Authentication credentials were not provided") == 2
    )  # the title and the heading
    assert f"/admin/login/?next={url(Job.objects.get())}" in page(response)


def test_an_unknown_job_links_to_the_list_for_a_user_who_is_logged_in(browser):
    html = page(browser.get("/api/jobs/nothing/"))
    assert 'href="http://testserver/api/jobs/"' in html
    assert "No such job" in html
    assert "There is no such job" not in html  # not twice the same
    assert "Log in" not in html


def test_a_refusal_says_its_reason_once(make_job, django_user_model):
    helper = django_user_model.objects.create(username="helper", is_staff=True)
    helper.user_permissions.add(Permission.objects.get(codename="view_job"))
    client = Client(headers={"accept": BROWSER})
    client.force_login(helper)
    job = make_job()
    response = client.post(url(job, "cancel/"))
    assert response.status_code == 403
    html = page(response).partition("<main>")[2]
    assert html.count("You do not have permission") == 1
    assert f'href="http://testserver{url(job)}"' in html


@pytest.mark.parametrize("endpoint", ["", "result/"])
def test_the_browsable_api_has_texts_for_users(browser, make_job, endpoint):
    for path in ("/api/jobs/", url(make_job(), endpoint)):
        html = page(browser.get(path + "?format=api"))
        assert "include(" not in html
        assert re.search(r"<h1>(Your jobs|Job|Result)</h1>", html)


def test_options_of_a_job_are_json(browser, make_job):
    response = browser.options(url(make_job()), headers={"accept": "application/json"})
    assert response.json()["name"] == "Job"


# --- The page without JavaScript -----------------------------------------------------------------------


@pytest.mark.parametrize("state", State.values)
def test_every_state_has_its_label_its_buttons_and_its_refresh(browser, make_job, state):
    job = make_job(state)
    response = browser.get(url(job))
    html = page(response)
    active = state not in FINAL
    assert f'<span data-part="state">{State(state).label.capitalize()}</span>' in html
    assert response.get("Refresh") == ("5" if active else None)  # time to reach a button
    assert response.get("Retry-After") == ("1" if active else None)
    shown = {name: f'data-url="{name}_url" hidden' not in html for name in ("cancel", "rerun", "result")}
    assert shown == {
        "cancel": state in ("accepted", "running"),
        "rerun": not active,
        "result": state == "succeeded",
    }
    assert ('role="alert">' in html) == (state == "failed")


def test_progress_is_a_labelled_bar(browser, make_job):
    html = page(browser.get(url(make_job(progress=PROGRESS))))
    label = re.search(r"<label.*?</label>", html, re.DOTALL)[0]
    assert "Charging" in label
    assert "1,300 of 5,200 orders" in label
    assert '<progress max="100" value="25">25%</progress>' in label
    assert "Order 1300" in html


@pytest.mark.parametrize(("percent", "shown"), [(0.4, "0%"), (0.5, "1%"), (2.5, "3%"), (99.5, "100%")])
def test_halves_of_a_percent_are_rounded_up(browser, make_job, percent, shown):
    """As the script does. Python's round() would round half to even."""
    html = page(browser.get(url(make_job(progress=PROGRESS | {"percent": percent}))))
    assert f'data-part="percent">{shown}<' in html


@pytest.mark.parametrize(
    ("language", "current", "shown"),
    [
        ("en", 1234.5, "1,234.5 of 5,200"),
        ("en", 0.125, "0.13 of 5,200"),
        ("de", 30.0, "30 von 5.200"),
        ("de", 1.5, "1,5 von 5.200"),
        ("en", 1e40, f"10{',000' * 13} of 5,200"),
    ],
)
def test_counts_have_the_format_of_the_readers_language(make_job, language, current, shown):
    job = make_job(progress=PROGRESS | {"current": current})
    with translation.override(language):
        assert f'data-part="count">{shown} orders<' in render(job=job)


@pytest.mark.parametrize(
    ("state", "attempt", "shown"),
    [
        ("accepted", 0, ""),
        ("accepted", 1, "Waiting for attempt 2"),
        ("running", 1, ""),
        ("running", 2, "Attempt 2"),
        ("failed", 3, "Attempt 3"),
    ],
)
def test_attempts_are_shown_from_the_second_on(browser, make_job, state, attempt, shown):
    html = page(browser.get(url(make_job(state, attempt=attempt))))
    assert re.search(r'data-part="attempt"( hidden)?>(.*?)<', html)[2] == shown


def test_texts_of_users_are_escaped(browser, make_job):
    nasty = '<script>"x"</script>'
    progress = {"current": 0, "total": None, "unit": nasty, "message": nasty, "percent": None, "stage": nasty}
    failed = problem("rejected", nasty, errors={nasty: [nasty]})
    html = page(browser.get(url(make_job(State.FAILED, progress=progress, problem=failed))))
    assert nasty not in html
    assert escape(nasty) in html


def test_a_failure_shows_its_problem(browser, make_job):
    failed = problem(
        "rejected", "The input is not valid.", errors={"slug": ["Taken.", "Odd."]}, reference="abc"
    )
    html = page(browser.get(url(make_job(State.FAILED, problem=failed))))
    for text in ("The request was rejected", "The input is not valid.", "slug: Taken.; Odd.", "abc"):
        assert text in html


def test_the_page_has_no_inline_script_and_no_inline_style(browser, make_job):
    for state in State.values:
        html = page(browser.get(url(make_job(state))))
        assert not re.search(r"<script(?![^>]*\bsrc=)", html)
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)


def test_an_expired_result_is_not_offered(browser, make_job):
    job = make_job(State.SUCCEEDED)
    Job.objects.update(expires_at=timezone.now())
    html = page(browser.get(url(job)))
    assert "The result is no longer kept." in html
    assert 'data-url="result_url" hidden' in html


def test_a_button_redirects_back_to_the_page(browser, make_job):
    job = make_job()
    response = browser.post(url(job, "cancel/"))
    assert (response.status_code, response["Location"]) == (303, f"http://testserver{url(job)}")
    assert "Retry-After" not in response
    job.refresh_from_db()
    assert job.state == State.CANCELING


def test_run_again_redirects_to_the_new_job(browser, make_job):
    job = make_job(State.FAILED)
    response = browser.post(url(job, "rerun/"))
    again = Job.objects.get(rerun_of=job.pk)
    assert (response.status_code, response["Location"]) == (303, f"http://testserver{url(again)}")
    html = page(browser.get(url(again)))
    assert f'<a href="{url(job)}">' in html


def test_a_button_that_comes_too_late_shows_the_end(browser, make_job):
    job = make_job(State.SUCCEEDED)
    response = browser.post(url(job, "cancel/"))
    assert (response.status_code, response["Location"]) == (303, f"http://testserver{url(job)}")


@pytest.mark.parametrize("allowed", ["", "cancel_job", "rerun_job"])
def test_staff_see_only_the_buttons_that_they_may_use(make_job, django_user_model, allowed):
    helper = django_user_model.objects.create(username="helper", is_staff=True)
    names = {"view_job", allowed} - {""}
    helper.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client(headers={"accept": BROWSER})
    client.force_login(helper)
    for state, verb in (("running", "cancel"), ("failed", "rerun")):
        job = make_job(state)
        for form in ("", "?format=api"):
            html = page(client.get(url(job) + form))
            assert (f'data-part="{verb}"' in html) is (allowed == f"{verb}_job")


def test_run_again_is_offered_if_the_input_is_kept(browser, make_job):
    job = make_job(State.FAILED)
    assert 'data-url="rerun_url" hidden' not in page(browser.get(url(job)))
    Job.objects.update(input=None)
    assert 'data-url="rerun_url" hidden' in page(browser.get(url(job)))


def test_the_buttons_need_the_csrf_token(make_job, alice):
    client = Client(enforce_csrf_checks=True, headers={"accept": BROWSER})
    client.force_login(alice)
    job = make_job()
    assert client.post(url(job, "cancel/")).status_code == 403
    html = page(client.get(url(job)))
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', html)[1]
    assert client.post(url(job, "cancel/"), {"csrfmiddlewaretoken": token}).status_code == 303


def test_a_script_that_posts_gets_json(browser, make_job):
    response = browser.post(url(make_job(), "cancel/"), headers={"accept": "*/*"})
    assert response.status_code == 202
    assert response.json()["status"] == "canceling"


# --- The tag -------------------------------------------------------------------------------------------


def test_the_element_has_its_own_language_and_the_words_of_its_script(make_job):
    """The page around it may have another language."""
    job = make_job()
    for language, direction in (("de", "ltr"), ("ar", "rtl")):
        with translation.override(language):
            html = render(job=job)
        assert f'lang="{language}" dir="{direction}"' in html
        words = json.loads(unescape(re.search(r'data-words="([^"]+)"', html)[1]))
        assert words["lang"].startswith(f"{language}-u-")
        assert set(State.values) < set(words)


def render(**context):
    return Template("{% load async_accept %}{% async_job job %}").render(Context(context))


def test_the_tag_takes_a_job_a_document_or_nothing(browser, make_job, rf):
    job = make_job()
    document = browser.get(url(job), headers={"accept": "application/json"}).json()
    from_job, from_document = render(job=job, request=rf.get("/")), render(job=document)
    assert f'url="{url(job)}"' in from_job
    assert from_job == from_document
    assert render(job=None).strip() == ""


# --- The script ----------------------------------------------------------------------------------------


def test_the_script_is_at_most_6_kb():
    script = Path(finders.find("async_accept/async-job.js")).read_bytes()
    assert len(script) <= 6_000
    assert re.search(rb"\b(eval|innerHTML|import)\b", script) is None


# --- The browsable API ---------------------------------------------------------------------------------


@pytest.fixture
def form(browser):
    def get(path="/api/notes/"):
        return re.search(r'name="_idempotency_key" value="(\w+)"', page(browser.get(path)))[1]

    return get


def test_a_panel_stands_above_a_202(browser):
    html = page(browser.post("/api/notes/", {"slug": "a", "title": "A"}))
    assert "HTTP 202" in html
    job = Job.objects.get()
    assert html.index(f'<async-job class="async-job" url="{url(job)}"') < html.index("HTTP 202")
    assert f"curl -i -H &#x27;Authorization: …&#x27; http://testserver{url(job)}" in html


def test_the_form_below_a_202_is_the_views_own(browser):
    html = page(browser.post("/api/notes/", {"slug": "a", "title": "A"}))
    assert 'name="slug"' in html
    assert 'name="operation"' not in html


def test_a_minimal_202_has_its_panel_too(browser):
    html = page(
        browser.post("/api/notes/", {"slug": "a", "title": "A"}, headers={"prefer": "return=minimal"})
    )
    assert "<async-job" in html


def test_a_view_that_does_not_accept_keeps_its_renderer(browser):
    assert "_idempotency_key" not in page(browser.get("/api/plain-notes/"))


@pytest.mark.parametrize("path", ["/api/notes/", "/api/sums/"])
def test_a_reload_of_a_form_makes_no_second_job(browser, form, path):
    html = page(browser.get(path)) if path == "/api/notes/" else page(browser.post(path, {"x": -1, "y": 1}))
    data = {"slug": "a", "title": "A", "x": 1, "y": 2}
    key = re.search(r'name="_idempotency_key" value="(\w+)"', html)[1]
    answers = [browser.post(path, data | {"_idempotency_key": key}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0]["Location"] == answers[1]["Location"]
    assert Job.objects.count() == 1


def test_a_form_with_another_value_makes_a_second_job(browser, form):
    key = form()
    for slug in "ab":
        assert (
            browser.post("/api/notes/", {"slug": slug, "title": "A", "_idempotency_key": key}).status_code
            == 202
        )
    assert Job.objects.count() == 2


def test_the_hidden_field_does_not_reach_the_view(browser, form):
    browser.post("/api/shout/hi/", {"a": "1", "_idempotency_key": form()})
    job = Job.objects.get()
    assert job.input == {"form": [["a", ["1"]]]}
    run_accepted_jobs()
    assert Job.objects.get().state == State.SUCCEEDED


def test_a_form_with_a_file_makes_no_second_job(browser, form):
    key = form()
    for content in (b"same", b"same"):
        sent = {"file": SimpleUploadedFile("a.txt", content), "label": "A", "_idempotency_key": key}
        assert browser.post("/api/uploads/", sent).status_code == 202
    assert "_idempotency_key" not in str(Job.objects.get().input)
    run_accepted_jobs()
    job = Job.objects.get()
    result = browser.get(url(job, "result/"), headers={"accept": "*/*"}).json()
    assert result == {"files": [{"name": "a.txt", "text": "same"}], "label": "A"}


def test_a_field_of_that_name_is_data_if_the_client_is_no_browser(browser):
    client = Client()
    client.cookies = browser.cookies
    client.post("/api/shout/hi/", {"_idempotency_key": "mine"})
    assert Job.objects.get().input == {"form": [["_idempotency_key", ["mine"]]]}


def test_the_panel_comes_with_decorated_function_views(browser):
    assert "<async-job" in page(browser.post("/api/multiply/", {"x": 1, "y": 2}))


# --- OPTIONS -------------------------------------------------------------------------------------------


def test_options_lists_what_is_accepted(browser):
    response = browser.options("/api/notes/", headers={"accept": "application/json"})
    assert response.json()["accepts"] == {
        "POST": {
            "operation": "note.create",
            "mode": "always",
            "idempotency_key": "optional",
            "idempotency_key_seconds": 86400,
            "prefer": ["respond-async", "return=minimal", "wait=10"],
            "status_codes": [202, 400, 413, 422, 503],
        }
    }
    if hasattr(decorators, "metadata_class"):  # not in older releases of REST framework
        function = browser.options("/api/multiply/", headers={"accept": "application/json"}).json()
        assert function["accepts"]["POST"]["operation"] == "multiply"
    shout = browser.options("/api/notes/1/shout/", headers={"accept": "application/json"}).json()
    assert shout["accepts"]["POST"]["operation"] == "notes.shout"
    assert (
        "accepts" not in browser.options("/api/plain-notes/", headers={"accept": "application/json"}).json()
    )


# --- The traceback of a failure, with DEBUG -----------------------------------------------------------------


@pytest.fixture
def crashed(make_job):
    job = testing.make_job(
        "tests.testapp.tasks.crash",
        owner=make_job().owner,
        input={"message": "<b>postgres://shop:hunter2@db/shop</b>"},
    )
    run_accepted_jobs(pk=job.pk, raises=False)
    return job


TRACEBACK = "async-job-traceback"


def test_with_debug_the_owner_sees_the_traceback(browser, crashed, settings):
    settings.DEBUG = True
    text = page(browser.get(url(crashed)))
    assert escape("RuntimeError: <b>postgres://shop:") in text.replace("••••••", "shop:")
    assert "raise RuntimeError(message)" in text
    assert "hunter2" not in text
    assert "<b>postgres" not in text
    # What the script puts in place of the error when the job fails before the reader's eyes.
    [error] = re.findall(r'data-part="error".*?</div>', text, re.DOTALL)
    assert TRACEBACK in error


def test_without_debug_nobody_sees_the_traceback(browser, crashed):
    text = page(browser.get(url(crashed)))
    assert TRACEBACK not in text
    assert "RuntimeError" not in text


def test_with_debug_no_other_representation_has_the_traceback(browser, crashed, settings):
    settings.DEBUG = True
    for path, kind in [("", "application/json"), ("result/", "application/json"), ("?format=api", BROWSER)]:
        assert (
            "raise RuntimeError"
            not in browser.get(url(crashed, path), headers={"accept": kind}).content.decode()
        )


@pytest.mark.parametrize("state", sorted(set(FINAL) - {State.FAILED}))
def test_with_debug_a_job_that_did_not_fail_has_no_traceback(browser, make_job, settings, state):
    settings.DEBUG = True
    assert TRACEBACK not in page(browser.get(url(make_job(state))))


def test_with_debug_only_the_owner_sees_the_traceback(crashed, django_user_model, settings):
    """Whoever else may see the job, as in a team, does not see its insides."""
    settings.DEBUG = True
    bob = django_user_model.objects.create(username="bob")
    assert "raise RuntimeError" in debug_traceback(Job.objects.get(pk=crashed.pk), crashed.owner)
    assert debug_traceback(Job.objects.get(pk=crashed.pk), bob) == ""
    assert debug_traceback(Job.objects.get(pk=crashed.pk), None) == ""
    anonymous = Job(owner=None, anonymous=False, state=State.FAILED)
    assert debug_traceback(anonymous, AnonymousUser()) == ""
