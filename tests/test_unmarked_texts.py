"""No page has a text of ours that nobody can translate.

A catalogue made for these tests puts every marked text in brackets, Django's own too; the data of the jobs stands in
brackets as well. A word outside of brackets was written into a template or a module without a mark.
"""

import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import django
import polib
import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.test import Client
from django.utils import timezone, translation
from django_celery_results.models import TaskResult

import async_accept
from async_accept.admin import actions, changelist, detail, statistics
from async_accept.models import Job
from async_accept.problems import problem
from async_accept.states import State
from async_accept.testing import make_job
from tests.testapp.models import Shelf

pytestmark = pytest.mark.django_db

LIST = "/admin/async_accept/job/"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
#: Written in brackets; a variant of English, so that dates and numbers are written as in the sources.
LANGUAGE, LOCALE = "en-xx", "en_XX"
#: Known in every language; and what Django itself has not marked.
NAMES = {"JSON", "Search"}
#: The end of a job's id, in its title.
SHORT_ID = re.compile(r"…[0-9a-f]{8}")
#: Attributes that people read or hear.
READ = {"title", "aria-label", "alt", "placeholder", "label", "data-aa-sent", "data-aa-state", "data-label"}


def wrapped(text: str) -> str:
    return f"⟦{text}⟧"


REASONS = ("lease", "worker: lost", "worker: shut down", "retry", "retry: ⟦E⟧", "database: ⟦E⟧", "⟦other⟧")
REJECTED = problem("rejected", wrapped("detail"), title=wrapped("title"), errors={"a": ["b"]})


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory) -> Path:
    """The folder with a catalogue that wraps every text of ours and of Django."""
    ours = Path(async_accept.__file__).parent / "locale/de/LC_MESSAGES/django.po"
    inside = Path(django.__file__).parent
    apps = ("conf", "contrib/admin", "contrib/auth", "contrib/contenttypes", "contrib/sessions")
    theirs = [inside / app / "locale/en/LC_MESSAGES/django.po" for app in apps]
    texts = polib.MOFile()
    known = set()
    for path in (ours, *theirs):
        for entry in polib.pofile(str(path)):
            key = (entry.msgctxt, entry.msgid)
            if key in known:
                continue
            known.add(key)
            plural = {0: wrapped(entry.msgid), 1: wrapped(entry.msgid_plural)} if entry.msgid_plural else {}
            texts.append(
                polib.MOEntry(
                    msgctxt=entry.msgctxt,
                    msgid=entry.msgid,
                    msgid_plural=entry.msgid_plural,
                    msgstr="" if plural else wrapped(entry.msgid),
                    msgstr_plural=plural,
                )
            )
    texts.metadata = {
        "Content-Type": "text/plain; charset=UTF-8",
        "Plural-Forms": "nplurals=2; plural=(n != 1);",
    }
    folder = tmp_path_factory.mktemp("catalogue")
    target = folder / LOCALE / "LC_MESSAGES"
    target.mkdir(parents=True)
    texts.save(str(target / "django.mo"))
    return folder


@pytest.fixture
def boss(catalogue, settings, monkeypatch, django_user_model):
    cache.clear()
    settings.LANGUAGES = [(LANGUAGE, "Brackets"), ("en", "English")]
    settings.LOCALE_PATHS = [catalogue]
    monkeypatch.setattr(Shelf._meta, "verbose_name", wrapped("shelf"))
    client = Client(headers={"accept": BROWSER, "accept-language": LANGUAGE})
    client.force_login(django_user_model.objects.create_superuser(wrapped("boss")))
    yield client
    translation.deactivate()


class Reader(HTMLParser):
    """Collects what people read or hear of a page, without Django's own frame around it."""

    UNREAD = ("script", "style", "code", "pre")
    #: Django's, with the names of other apps in them.
    FRAME = ("nav-sidebar", "header")
    VOID = ("meta", "link", "br", "wbr", "input", "img", "hr", "rect", "line", "path", "circle")

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        hidden = tag in self.UNREAD or found.get("id") in self.FRAME or self.is_hidden
        if not hidden:
            self.said += [value for name, value in attributes if name in READ and value]
            if tag == "input" and found.get("type") in ("submit", "button"):
                self.said.append(found.get("value") or "")
        if tag not in self.VOID:
            self.open.append((tag, hidden))

    def handle_endtag(self, tag):
        while self.open and tag not in self.VOID:
            if self.open.pop()[0] == tag:
                break

    @property
    def is_hidden(self) -> bool:
        return bool(self.open) and self.open[-1][1]

    def handle_data(self, data):
        if not self.is_hidden:
            self.said.append(data)


def outside(text: str) -> str:
    """Return what of *text* is in no brackets."""
    depth, rest = 0, []
    for letter in text:
        depth += {"⟦": 1, "⟧": -1}.get(letter, 0)
        rest.append(" " if depth or letter == "⟧" else letter)
    return "".join(rest)


def unmarked(html: str) -> set[str]:
    """Return the words of a page that are in no brackets."""
    reader = Reader()
    reader.feed(html)
    text = SHORT_ID.sub("", outside("\n".join(reader.said)))
    words = re.findall(r"[^\W\d_]{2,}", text)
    return set(words) - NAMES


def test_a_text_without_a_mark_would_be_found():
    html = (
        '<p title="Hidden words">⟦Marked ⟦data⟧ text⟧ <b>Bare words</b><input type=submit value="Go on"></p>'
    )
    assert unmarked(html) == {"Hidden", "words", "Bare", "Go", "on"}


def page(client: Client, url: str, **data) -> str:
    response = client.post(url, data) if data else client.get(url)
    assert response.status_code == 200, url
    html = response.content.decode()
    assert f'lang="{LANGUAGE}"' in html
    assert "⟦" in html
    return html


def job(state: str = "succeeded", **columns) -> Job:
    """Make a job that has everything that a page can show, in brackets where it is no code."""
    now = timezone.now()
    began = (now - timedelta(hours=1)).isoformat()
    columns = {
        "operation": wrapped("orders"),
        "task": "orders.create",
        "worker": wrapped("worker"),
        "worker_pid": 7,
        "queue": wrapped("queue"),
        "object_type": ContentType.objects.get_for_model(Shelf),
        "object_id": "1",
        "attempt": 3 if state != "accepted" else 2,
        "created_at": now - timedelta(hours=3),
        "started_at": now - timedelta(minutes=3),
        "history": [
            {"attempt": n, "worker": wrapped("w"), "started_at": began, "ended_at": began, "reason": reason}
            for n, reason in enumerate(REASONS)
        ],
        "log": "12:00 x",
        "idempotency_key": None,
        "input": {"a": 1},
        "request": {"method": "POST", "path": "/x/", "meta": {"CONTENT_TYPE": "a", "HTTP_X_REQUEST_ID": "b"}},
        "progress": {"current": 30, "total": 100, "unit": wrapped("rows"), "percent": 30.0,
                     "message": wrapped("message"), "stage": wrapped("stage")},
        "result": {"a": 1},
        **columns,
    }  # fmt: skip
    return make_job(state=state, **columns)


def test_the_list(boss):
    for n in range(52):
        job(list(State)[n % 6])
    job("accepted", attempt=0, started_at=None)
    for query in ("", "?columns=all", "?q=nobody", "?state=failed&q=x", "?p=2", "?mine=1"):
        assert unmarked(page(boss, LIST + query)) == set(), query


def test_a_list_above_the_cap_while_nobody_works(boss, monkeypatch):
    monkeypatch.setattr(changelist.CappedPaginator, "cap", 1)
    for _ in range(2):
        make_job(operation=wrapped("a"), created_at=timezone.now() - statistics.QUIET * 3)
    html = page(boss, LIST)
    assert "⟦No worker is seen" in html
    assert "⟦1+ jobs⟧" in html
    assert unmarked(html) == set()


@pytest.mark.parametrize("state", State)
def test_the_page_of_a_job(boss, state):
    other = make_job()
    shown = job(state, rerun_of=other.pk, rerun_as=other.pk, idempotency_key="a" * 64)
    TaskResult.objects.update(traceback="x")
    html = page(boss, f"{LIST}{shown.pk}/change/")
    assert "⟦Timeline⟧" in html
    assert unmarked(html) == set()


@pytest.mark.parametrize(
    "columns",
    [
        {"expires_at": timezone.now() - timedelta(days=1)},
        {"result": ["x" * 500]},
        {"result": None, "response": {"status": 204, "headers": {}}},
        {"input": None, "owner": None},
        {"state": "failed", "problem": REJECTED},
        {"state": "failed", "problem": problem("lost"), "anonymous": True},
        {"state": "accepted", "attempt": 0, "history": None},
    ],
)  # fmt: skip
def test_what_else_the_page_of_a_job_may_say(boss, monkeypatch, columns):
    monkeypatch.setattr(detail, "SHOWN_CHARS", 50)
    monkeypatch.setattr(detail, "PARSED_CHARS", 400)
    shown = job(**{"state": "succeeded", **columns})
    assert unmarked(page(boss, f"{LIST}{shown.pk}/change/")) == set()


@pytest.mark.parametrize("name", actions.ACTIONS)
def test_questions_and_what_is_said_afterwards(boss, monkeypatch, name):
    monkeypatch.setattr(actions, "CAP", 3)
    monkeypatch.setattr(actions.JobAction, "limit", 2)
    jobs = [job(state) for state in State for _ in range(2)]
    chosen = {"action": name, "_selected_action": [str(each.pk) for each in jobs]}
    assert unmarked(page(boss, LIST, **chosen)) == set()

    if name != "export":
        one = next(each for each in jobs if actions.ACTIONS[name].applies(each))
        url = f"{LIST}{one.pk}/{name}/"
        assert unmarked(page(boss, url)) == set()
        done = boss.post(LIST, {**chosen, "confirmed": "yes"}, follow=True).content.decode()
        assert "messagelist" in done
        assert unmarked(done) == set()


def test_a_question_with_nothing_to_do(boss):
    html = page(boss, LIST, action="cancel", _selected_action=[str(job("failed").pk)])
    assert "⟦There is nothing to do" in html
    assert unmarked(html) == set()


@pytest.mark.parametrize("starving", [True, False])
def test_the_dashboard(boss, starving):
    for state in State:
        job(state, attempt=0 if state == "accepted" else 1, started_at=timezone.now())
    if starving:
        Job.objects.exclude(state="accepted").delete()
    html = page(boss, f"{LIST}dashboard/")
    assert ("⟦No worker is seen" in html) == starving
    assert unmarked(html) == set()


def test_an_empty_dashboard_and_the_index_of_the_app(boss):
    for url in (f"{LIST}dashboard/", "/admin/async_accept/"):
        assert unmarked(page(boss, url)) == set()


@pytest.mark.parametrize("state", State)
def test_the_status_page(boss, state):
    other = make_job()
    shown = job(state, rerun_of=other.pk, rerun_as=other.pk)
    assert unmarked(page(boss, f"/api/jobs/{shown.pk}/")) == set()


def test_the_status_page_of_a_job_whose_result_is_gone(boss):
    shown = job(expires_at=timezone.now() - timedelta(days=1))
    assert unmarked(page(boss, f"/api/jobs/{shown.pk}/")) == set()


def test_the_page_of_no_job(boss):
    response = boss.get("/api/jobs/0197e3f2-0000-7000-8000-000000000000/")
    assert response.status_code == 404
    assert unmarked(response.content.decode()) == set()
