"""Contract 11, 12: entity tags, 304, 412, and what a process may answer from memory."""

import re
from datetime import timedelta

import pytest
import requests
from django.contrib.auth import get_user_model
from django.utils import timezone
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer

from async_accept.http.not_modified import not_modified
from async_accept.models import Job
from async_accept.problems import problem
from tests.clocks import Clock
from tests.contract.conftest import ACTIVE, ENDED, make_staff, together, url

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_tag_changes_with_the_document(job, alice):
    """Contract 11: every change of the document changes its tag."""
    accepted = job("accepted")
    tags = [alice.get(url(accepted)).headers["ETag"]]
    for change in (
        lambda: accepted.claim("w", 1),
        lambda: Job.objects.update(progress={"current": 1, "message": "x"}, updated_at=timezone.now()),
        lambda: Job.objects.get().fail(problem("failed")),
        lambda: alice.post(url(accepted, "rerun/")),
    ):
        change()
        not_modified.sent.clear()
        tags.append(alice.get(url(accepted)).headers["ETag"])
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("state", [*ACTIVE, *ENDED])
def test_unchanged_is_304_with_the_same_headers(job, alice, state):
    """Contract 11: ``If-None-Match`` gives 304 with the same caching headers, from memory and from the database."""
    monitored = job(state)
    full = alice.get(url(monitored))
    for form in ("{}", "W/{}", '"other", {}', "*"):
        for forget in (False, True):
            if forget:
                not_modified.sent.clear()
            response = alice.get(url(monitored), headers={"If-None-Match": form.format(full.headers["ETag"])})
            assert (response.status_code, response.content) == (304, b""), form
            for name in ("ETag", "Cache-Control", "Vary", "Retry-After", "Sunset"):
                assert response.headers.get(name) == full.headers.get(name), name


def test_a_garbled_tag_is_200(job, alice):
    """Contract 11: a tag that is none matches nothing."""
    path = url(job("running"))
    for tag in ('"other"', "garbage", "", '"' * 5000, ",,,", "W/"):
        assert alice.get(path, headers={"If-None-Match": tag}).status_code == 200, tag


# --- One tag for each representation ----------

FORMS = ["application/json", "application/json; indent=4", "application/vnd.shop+json", "text/csv"]


@pytest.fixture
def forms(settings):
    """A project that adds further forms of JSON, and others, to those of this library."""

    class Vendor(JSONRenderer):
        media_type = "application/vnd.shop+json"

    class Csv(JSONRenderer):
        media_type = "text/csv"
        format = "csv"

    added = (BrowsableAPIRenderer, Csv, Vendor, JSONRenderer)
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"RENDERER_CLASSES": added}


def test_each_representation_has_its_own_tag(job, alice, forms):
    """Contract 11, 12: by media type and its parameters; ``Vary`` says so, and any current tag allows a change."""
    running = job("running")
    answers = {form: alice.get(url(running), headers={"Accept": form}) for form in FORMS}
    tags = {form: answer.headers["ETag"] for form, answer in answers.items()}
    assert len(set(tags.values())) == len(FORMS)
    for form, tag in tags.items():
        assert {"Accept", "Authorization", "Cookie", "Accept-Language"} <= set(
            re.split(r",\s*", answers[form].headers["Vary"])
        )
        for other in FORMS:
            headers = {"Accept": other, "If-None-Match": tag}
            assert alice.get(url(running), headers=headers).status_code == (304 if other == form else 200)
    changed = {"Accept": "text/csv", "If-Match": tags["application/vnd.shop+json"]}
    assert alice.post(url(running, "cancel/"), headers=changed).status_code == 202


def test_each_host_has_its_own_tag(job, alice):
    """Contract 11: a strong tag names one sequence of bytes, and the URLs of another host are other bytes."""
    path = url(job("running"))
    here = alice.get(path).headers["ETag"]
    assert alice.get(path, headers={"Accept": "*/*"}).headers["ETag"] == here
    assert alice.get(path, headers={"Host": "testserver"}).headers["ETag"] != here
    assert alice.get(path, headers={"Host": "testserver", "If-None-Match": here}).status_code == 200


@pytest.mark.parametrize("query", ["", "?format=html", "?format=api"])
def test_a_page_has_no_tag(job, alice, query):
    """Contract 11: it also depends on reader and language, which no tag of a job knows."""
    path = url(job("running"), query)
    page = alice.get(path, headers={"Accept": "text/html"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert "ETag" not in page.headers
    assert alice.get(path, headers={"Accept": "text/html", "If-None-Match": "*"}).status_code == 200


def test_the_tag_is_the_same_in_every_language(job, alice):
    """Contract 11, 15: so is the document."""
    path = url(job("failed"))
    answers = [alice.get(path, headers={"Accept-Language": name}) for name in ("de", "ja", "en")]
    assert len({(answer.text, answer.headers["ETag"]) for answer in answers}) == 1


# --- From memory ----------


@pytest.fixture
def clock(monkeypatch, configure):
    """The clock of the memory, which stands still unless a test moves it; a heartbeat is a minute of it."""
    configure(HEARTBEAT=timedelta(minutes=1))
    clock = Clock()
    monkeypatch.setattr(not_modified, "clock", clock)
    yield clock
    not_modified.sent.clear()


@pytest.mark.parametrize(("method", "endpoint"), [("POST", "cancel/"), ("DELETE", "")])
def test_a_change_made_here_is_seen_at_once(job, alice, clock, method, endpoint):
    """Contract 9, 11: a client that was answered a change is not told afterwards that nothing is new."""
    running = job("running")
    tag = {"If-None-Match": alice.get(url(running)).headers["ETag"]}
    assert alice.get(url(running), headers=tag).status_code == 304
    assert alice(method, url(running, endpoint)).status_code == 202
    assert alice.get(url(running), headers=tag).status_code == (200 if endpoint else 404)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda job: job.cancel(), 200),
        (lambda job: job.fail(problem("failed")), 200),
        (lambda job: Job.objects.filter(pk=job.pk).update(updated_at=timezone.now()), 200),
        (lambda job: Job.objects.filter(pk=job.pk).update(forgotten=True), 404),
        (lambda job: Job.objects.filter(pk=job.pk).delete(), 404),
        (lambda job: Job.objects.filter(pk=job.pk).update(owner=None), 404),
    ],
    ids=["canceled", "ended", "progress", "forgotten", "purged", "withdrawn"],
)
def test_a_change_made_elsewhere_is_seen_after_a_heartbeat(job, alice, clock, change, status):
    """Contract 11, 18: 304 is from memory for one ``HEARTBEAT``, and from the database after it."""
    running = job("running")
    tag = {"If-None-Match": alice.get(url(running)).headers["ETag"]}
    change(running)
    clock.go_on(59.9)
    assert alice.get(url(running), headers=tag).status_code == 304
    clock.go_on(0.1)
    for headers in (tag, tag | {"Prefer": "return=minimal"}):
        assert alice.get(url(running), headers=headers).status_code == status


def test_an_older_tag_is_not_answered_from_memory(job, alice, clock):
    """Contract 11: a client that is behind gets the document as it is in the database."""
    running = job("running")
    alice.get(url(running))
    running.cancel()
    news = alice.get(url(running), headers={"If-None-Match": '"an-older-one"'})
    assert (news.status_code, news.json()["status"]) == (200, "canceling")


def test_304_is_for_the_owner_only(job, alice, bob):
    """Contract 11, 18: what was told to one is not told to another."""
    running = job("running")
    tag = alice.get(url(running)).headers["ETag"]
    assert bob.get(url(running), headers={"If-None-Match": tag}).status_code == 404
    assert bob.get(url(running), headers={"If-None-Match": "*"}).status_code == 404


def test_304_does_not_outlive_a_login(job, alice, base):
    """Contract 11, 18: neither without credentials nor for an owner who is not active any more."""
    path = url(job("running"))
    tag = {"If-None-Match": alice.get(path).headers["ETag"]}
    assert requests.get(base + path, headers=tag, timeout=5).status_code == 401
    get_user_model().objects.filter(username="alice").update(is_active=False)
    assert alice.get(path, headers=tag).status_code == 401


def test_304_does_not_outlive_a_permission(job, bob):
    """Contract 11, 18: what staff were shown by permission is asked for every time."""
    path = url(job("running"))
    user = make_staff("bob", "view_job")
    tag = {"If-None-Match": bob.get(path).headers["ETag"]}
    assert bob.get(path, headers=tag).status_code == 304
    user.user_permissions.clear()
    assert bob.get(path, headers=tag).status_code == 404


# --- If-Match ----------


def test_if_match(job, alice):
    """Contract 12: an old tag is 412 and changes nothing; the current one, ``*``, and none let the change through."""
    running = job("running")
    old = alice.get(url(running)).headers["ETag"]
    Job.objects.update(
        updated_at=timezone.now() + timedelta(seconds=1), progress={"current": 1, "message": ""}
    )
    done = job("failed")
    for method, path in [
        ("POST", url(running, "cancel/")),
        ("DELETE", url(running)),
        ("POST", url(done, "rerun/")),
        ("DELETE", url(done)),
    ]:
        for tag in (old, f"W/{old}", "garbage", ""):
            response = alice(method, path, headers={"If-Match": tag})
            assert response.status_code == 412, (method, path, tag)
            assert response.headers["Content-Type"] == "application/problem+json"
    assert Job.objects.count() == 2
    assert Job.objects.get(pk=running.pk).state == "running"

    current = alice.get(url(done)).headers["ETag"]
    assert alice.post(url(done, "rerun/"), headers={"If-Match": f'"x", {current}'}).status_code == 202
    assert alice.post(url(running, "cancel/"), headers={"If-Match": "*"}).status_code == 202


def test_if_match_wins_one_race(job, alice):
    """Contract 12: of several changes that name the same version, one goes through."""
    running = job("running")
    tag = alice.get(url(running)).headers["ETag"]
    answers = together(8, lambda _: alice.post(url(running, "cancel/"), headers={"If-Match": tag}))
    assert sorted(answer.status_code for answer in answers) == [202] + [412] * 7
