"""The catalogues are complete and say the same as the source, and every page is translated."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polib
import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import translation
from django.utils.html import escape
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext, pgettext

import async_accept
from async_accept.admin.actions import ACTIONS
from async_accept.problems import TYPES, problem, translated
from async_accept.states import State
from async_accept.testing import make_job
from tests import servers

PACKAGE = Path(async_accept.__file__).parent
LANGUAGES = ("de", "es", "fr", "ja", "pt_BR", "zh_Hans")
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[sd]|\{\w*\}")
TAG = re.compile(r"</?\w[^>]*>|&\w+;")

in_each_language = pytest.mark.parametrize("locale", LANGUAGES)


@pytest.fixture(autouse=True)
def _leaves_no_language():
    """A request leaves its language active, which the next file's tests would speak."""
    yield
    translation.deactivate()


def catalogue(locale: str) -> polib.POFile:
    return polib.pofile(str(PACKAGE / "locale" / locale / "LC_MESSAGES" / "django.po"))


def key(entry: polib.POEntry) -> tuple[str, ...]:
    return (entry.msgctxt or "", entry.msgid, entry.msgid_plural or "")


def forms(entry: polib.POEntry) -> list[str]:
    """Return what an entry says: one text, or one for each plural form."""
    if entry.msgid_plural:
        return [entry.msgstr_plural[form] for form in sorted(entry.msgstr_plural)]
    return [entry.msgstr]


def pairs(entry: polib.POEntry) -> list[tuple[str, str]]:
    """Return each translated text with the source that it stands for."""
    said = forms(entry)
    plural = entry.msgid_plural or entry.msgid
    # A language with a single form says even "1 job" by it.
    first = entry.msgid if len(said) > 1 else plural
    return list(zip([first, *[plural] * (len(said) - 1)], said, strict=True))


# --- The catalogues ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def marked(tmp_path_factory) -> set[tuple[str, ...]]:
    """What the sources mark for translation, as xgettext finds it."""
    if shutil.which("xgettext") is None:
        servers.do_without("needs xgettext: apt-get install gettext")
    copy = tmp_path_factory.mktemp("messages") / "async_accept"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("locale", "__pycache__"))
    (copy / "locale").mkdir()
    subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "--locale=de", "--keep-pot", "--verbosity=0"],
        cwd=copy,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        check=True,
    )
    return {key(entry) for entry in polib.pofile(str(copy / "locale" / "django.pot"))}


@in_each_language
def test_catalogue_has_every_text_of_the_sources_and_no_other(locale, marked):
    po = catalogue(locale)
    assert {key(entry) for entry in po} == marked
    assert po.obsolete_entries() == []


def test_every_catalogue_is_for_a_language_that_is_named_here():
    assert {path.name for path in (PACKAGE / "locale").iterdir()} == set(LANGUAGES)


@in_each_language
def test_every_text_is_translated(locale):
    """Plurals in as many forms as the language has."""
    po = catalogue(locale)
    assert [key(entry) for entry in po if entry.fuzzy or not all(forms(entry))] == []
    (count,) = re.findall(r"nplurals=(\d+)", po.metadata["Plural-Forms"])
    assert {len(forms(entry)) for entry in po if entry.msgid_plural} == {int(count)}


@in_each_language
def test_placeholders_markup_and_outer_spaces_are_those_of_the_source(locale):
    for entry in catalogue(locale):
        for source, said in pairs(entry):
            assert Counter(PLACEHOLDER.findall(said)) == Counter(PLACEHOLDER.findall(source)), said
            assert TAG.findall(said) == TAG.findall(source), said
            assert (said[:1].isspace(), said[-1:].isspace()) == (source[:1].isspace(), source[-1:].isspace())


@in_each_language
def test_compiled_catalogue_says_what_its_source_says(locale):
    """Its header holds nothing that changes by itself, so that a diff shows new texts only."""
    po = catalogue(locale)
    mo = polib.mofile(str(PACKAGE / "locale" / locale / "LC_MESSAGES" / "django.mo"))
    assert {key(entry): forms(entry) for entry in mo} == {key(entry): forms(entry) for entry in po}
    assert not {"POT-Creation-Date", "PO-Revision-Date"} & set(po.metadata)


# --- What people read ----------------------------------------------------------------------------------


@in_each_language
def test_states_have_a_word_each_in_the_case_of_a_badge(locale):
    with translation.override(translation.to_language(locale)):
        words = [str(state.label) for state in State]
    assert len(set(words)) == len(State)
    assert not set(words) & set(State.values)
    assert [word[0] for word in words] == [word[0].lower() for word in words]


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("en", ["0 jobs", "1 job", "2 jobs"]),
        ("de", ["0 Jobs", "1 Job", "2 Jobs"]),
        ("es", ["0 trabajos", "1 trabajo", "2 trabajos"]),
        ("fr", ["0 job", "1 job", "2 jobs"]),
        ("ja", ["0 件のジョブ", "1 件のジョブ", "2 件のジョブ"]),
        ("pt_BR", ["0 trabalho", "1 trabalho", "2 trabalhos"]),
        ("zh_Hans", ["0 个作业", "1 个作业", "2 个作业"]),
    ],
)
def test_counts_follow_the_plurals_of_the_language(locale, expected):
    with translation.override(translation.to_language(locale)):
        said = [ngettext("%(count)s job", "%(count)s jobs", n) % {"count": n} for n in range(3)]
    assert said == expected


@in_each_language
@pytest.mark.parametrize("name", ["cancel", "rerun", "purge"])
def test_no_is_never_the_word_for_the_action(locale, name):
    """In German, Django's own words for "take me back" cancel."""
    with translation.override(translation.to_language(locale)):
        no, yes = pgettext("answer", "No, leave it as it is"), str(ACTIONS[name].yes)
        verb = str(ACTIONS[name].button).lower()
        assert no not in (gettext("No, take me back"), gettext("Back"))
    assert verb in yes.lower()
    assert verb not in no.lower()


@in_each_language
def test_words_of_others_stay_as_they_are(locale):
    with translation.override(translation.to_language(locale)):
        for text in ("", "Delete", "Card declined"):
            assert translated(text) == text


# --- The pages -----------------------------------------------------------------------------------------
# One language shows that a page is translated; the catalogues above are complete in each, and
# test_unmarked_texts.py finds what is not marked.

LOCALE = "de"


@pytest.fixture
def owner(django_user_model):
    cache.clear()
    return django_user_model.objects.create_superuser("boss")


@pytest.fixture
def read(owner):
    """Fetch a page in German, as a browser asks for it."""
    client = Client(headers={"accept": BROWSER, "accept-language": LOCALE})
    client.force_login(owner)

    def fetch(url: str) -> str:
        response = client.get(url)
        assert response.status_code == 200, url
        html = response.content.decode()
        assert f'<html lang="{LOCALE}"' in html
        return html

    return fetch


def words(*texts: str) -> list[str]:
    """Return *texts* as a German page has them."""
    with translation.override(LOCALE):
        return [escape(gettext(text)) for text in texts]


@pytest.mark.django_db
def test_admin_list_speaks_the_language(read, owner):
    for state in State:
        make_job(state=state, owner=owner)
    html = read("/admin/async_accept/job/")
    badges = set(re.findall(r'class="aa-icon"[^>]*>[^<]*</span>([^<]+)<', html))
    assert badges == set(words(*State.values))
    for word in words("needs attention", "past 24 hours", "only mine", "Dashboard"):
        assert word in html


@pytest.mark.django_db
def test_pages_of_a_job_speak_the_language(read, owner):
    for state in State:
        job = make_job(state=state, owner=owner)
        word, title, button, *others = words(
            state, "Status of your request", "Run again", "Timeline", "Status monitor", "Input"
        )
        html = read(f"/admin/async_accept/job/{job.pk}/change/")
        assert f"</span>{word}<" in html
        for other in others:
            assert other in html
        html = read(f"/api/jobs/{job.pk}/")
        assert f'<span data-part="state">{capfirst(word)}</span>' in html
        assert f"<h1>{title}</h1>" in html
        assert button in html


@pytest.mark.django_db
def test_question_speaks_the_language(read, owner):
    job = make_job(state="running", owner=owner)
    html = read(f"/admin/async_accept/job/{job.pk}/cancel/")
    (no,) = re.findall(r'class="button cancel-link"[^>]*>([^<]+)</a>', html)
    (yes,) = re.findall(r'<input type="submit"[^>]*value="([^"]+)"[^>]*data-aa-asks', html)
    with translation.override(LOCALE):
        assert no == escape(pgettext("answer", "No, leave it as it is"))
        assert yes == escape(ACTIONS["cancel"].yes)


@pytest.mark.django_db
def test_dashboard_speaks_the_language(read):
    make_job(state="failed")
    html = read("/admin/async_accept/job/dashboard/")
    for word in words(*State.values, "Dashboard of jobs", "How long jobs take", "Longest waiting"):
        assert word in html


@pytest.mark.django_db
def test_problems_of_the_library_are_told_in_the_language(read, owner):
    """By the server: the script takes them from there when it sees a job fail."""
    known = TYPES["lost"]
    job = make_job(state="failed", owner=owner, problem=problem("lost"))
    title, detail = words(known.title, known.detail)
    for url in (f"/api/jobs/{job.pk}/", f"/admin/async_accept/job/{job.pk}/change/"):
        html = read(url)
        assert f">{title}</strong>" in html
        assert f">{detail}</p>" in html


@pytest.mark.django_db
def test_problems_in_json_stay_english(owner):
    job = make_job(state="failed", owner=owner)
    client = Client(headers={"accept": "application/json", "accept-language": LOCALE})
    client.force_login(owner)
    error = client.get(f"/api/jobs/{job.pk}/").json()["error"]
    assert (error["title"], error["detail"]) == TYPES["failed"][1:]
