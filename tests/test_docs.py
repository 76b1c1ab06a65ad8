"""The documentation tells the truth: its snippets run, and nothing that it must list is missing.

Every ``python`` block of ``docs/`` must compile. One that stands below the comment ``.. run`` is executed: the
blocks of a page run from top to bottom as one module, in the project of the tests. What a reader need not see stands in
a comment ``.. run hidden``. The module finds ``alice``, ``bob``, a ``client`` of alice and ``mount()`` ready made.
"""

import ast
import os
import re
import subprocess
import sys
import textwrap
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import ModuleType

import pytest
from django.core.management import BaseCommand, get_commands, load_command_class
from django.urls import include, path
from django.urls.base import clear_url_caches
from rest_framework.test import APIClient

from async_accept import exceptions, signals, testing
from async_accept.conf import DEFAULTS
from async_accept.http.options import AcceptOptions
from async_accept.states import State

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = {
    str(page.relative_to(DOCS).with_suffix("")): page.read_text() for page in sorted(DOCS.rglob("*.rst"))
}

BLOCK = re.compile(
    r"^(?P<run>\.\. run\n\n)?\.\. code-block:: python\n(?:   :[^\n]*\n)*\n(?P<shown>(?:(?:   [^\n]*)?\n)+)"
    r"|^\.\. run hidden\n\n(?P<hidden>(?:(?:   [^\n]*)?\n)+)",
    re.MULTILINE,
)


def blocks(page):
    """For each block of a page: whether it is to be run, and its code on the lines where it stands."""
    for match in BLOCK.finditer(PAGES[page]):
        which = "hidden" if match["hidden"] else "shown"
        lines_before = PAGES[page].count("\n", 0, match.start(which))
        yield bool(match["run"] or match["hidden"]), "\n" * lines_before + textwrap.dedent(match[which])


def test_every_block_is_found():
    for page, text in PAGES.items():
        marks = len(re.findall(r"^ *\.\. (?:code-block:: python|run hidden)$", text, re.MULTILINE))
        assert len(list(blocks(page))) == marks, f"{page}: a block stands where it is not found"
        runs = len(re.findall(r"^ *\.\. run(?: hidden)?$", text, re.MULTILINE))
        assert sum(run for run, _ in blocks(page)) == runs, f"{page}: a run mark without a block below it"


@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page))])
def test_snippets_compile(page):
    for _, code in blocks(page):
        ast.parse(code, f"docs/{page}.rst")


@pytest.mark.django_db
@pytest.mark.parametrize("page", [page for page in PAGES if any(run for run, _ in blocks(page))])
def test_snippets_run(page, settings, django_user_model, monkeypatch, tmp_path):
    module = ModuleType("docs_" + re.sub(r"\W", "_", page))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    alice, bob = (django_user_model.objects.create(username=name) for name in ("alice", "bob"))
    client = APIClient()
    client.force_authenticate(alice)

    def mount(*patterns):
        """Let these be the URLs from now on, beside those of the jobs."""
        module.urlpatterns = [*patterns, path("api/jobs/", include("async_accept.urls"))]
        settings.ROOT_URLCONF = module.__name__
        clear_url_caches()

    vars(module).update(alice=alice, bob=bob, client=client, settings=settings, mount=mount)
    for run, code in blocks(page):
        if run:
            exec(compile(code, str(DOCS / f"{page}.rst"), "exec"), vars(module))  # noqa: S102 the page's own code


#: The project of the page on tests.
SHOP = {
    "__init__.py": "",
    "settings.py": """
        from tests.settings import *

        ROOT_URLCONF = "shop.urls"
    """,
    "celery.py": """
        import os

        from celery import Celery

        app = Celery("shop", broker="redis://127.0.0.1:9/")  # nothing listens there
        app.conf.task_always_eager = bool(os.environ["EAGER"])
    """,
    "models.py": "from tests.testapp.models import Note as Order",
    "tasks.py": """
        from celery import shared_task

        from async_accept.exceptions import JobFailed
        from async_accept.progress import track
        from async_accept.tasks import JobTask

        from .celery import app

        @shared_task
        def send_mail(pk):
            assert app.conf.task_always_eager

        @shared_task(base=JobTask)
        def charge_orders(ids):
            if not ids:
                raise JobFailed("Nothing to charge.", code="empty", status=422)
            return {"paid": list(track(ids, "Charging"))}
    """,
    "urls.py": """
        from django.urls import include, path
        from rest_framework import viewsets
        from rest_framework.routers import SimpleRouter

        from async_accept.mixins import AcceptCreateMixin
        from tests.testapp.serializers import NoteSerializer

        from .models import Order
        from .tasks import send_mail

        class OrderViewSet(AcceptCreateMixin, viewsets.ModelViewSet):
            queryset = Order.objects.all()
            serializer_class = NoteSerializer

            def perform_create(self, serializer):
                send_mail.delay_on_commit(serializer.save().pk)

        router = SimpleRouter()
        router.register("orders", OrderViewSet, basename="order")
        urlpatterns = [
            path("api/", include(router.urls)),
            path("api/jobs/", include("async_accept.urls")),
        ]
    """,
}


@pytest.mark.programs
@pytest.mark.parametrize("eager", ["", "1"], ids=["broker", "eager"])
def test_the_page_on_tests_runs_as_pasted(tmp_path, eager):
    (tmp_path / "shop").mkdir()
    for name, text in SHOP.items():
        (tmp_path / "shop" / name).write_text(textwrap.dedent(text))
    (tmp_path / "test_orders.py").write_text("".join(code for _, code in blocks("howto/testing")))
    theirs = ("DATABASE_URL", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE", "ASYNC_ACCEPT_TEST_DIR")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in theirs and not name.startswith(("PYTEST", "COV_"))
    }
    # The plugin of this copy, and not that of an installed one.
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:async_accept", "-p", "async_accept.contrib.pytest"]
    options += ["--ds", "shop.settings", "-c", os.devnull, "--rootdir", "."]
    if eager:  # then Celery runs the other tasks, as the page says
        options += ["--deselect", "test_orders.py::test_the_customer_gets_a_mail"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_orders.py"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "EAGER": eager},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert f"{10 if eager else 11} passed" in done.stdout, done.stdout + done.stderr


# --- Nothing is missing --------------------------------------------------------------------------------------


def documented(page, names):
    """Those of *names* that a page does not tell of."""
    return [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?!\w)", PAGES[page])]


def test_every_setting_is_listed(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    accept_settings = pytest.importorskip("accept_settings", reason="needs sphinx")
    found = accept_settings.read()
    assert [setting.name for setting in found] == list(DEFAULTS)
    assert all(setting.text and setting.section for setting in found)


def test_every_check_is_documented():
    source = "".join(path.read_text() for path in (ROOT / "async_accept").rglob("*.py"))
    ids = set(re.findall(r"async_accept\.[EWI]\d{3}", source))
    for kind, letter in (("error", "E"), ("warning", "W")):
        numbers = re.findall(rf"\b{kind}\(\s*(\d+),", source)
        assert numbers
        ids |= {f"async_accept.{letter}{int(number):03}" for number in numbers}
    assert not documented("reference/checks", sorted(ids))


def test_every_state_signal_and_error_is_documented():
    assert not documented("reference/states", State.values)
    assert not documented("reference/signals", signals.__all__)
    assert not documented("reference/errors", exceptions.__all__)


def test_every_record_of_the_log_is_documented():
    """A line of the table without a logger is of the logger above it."""
    known, logger = set(), ""
    for name, level in re.findall(
        r"^(``[\w.]+``|\\)\s+(warning|error)\s", PAGES["reference/logging"], re.MULTILINE
    ):
        logger = logger if name == "\\" else name.strip("`")
        known.add((logger, level))
    written = set()
    for file in (ROOT / "async_accept").rglob("*.py"):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        module = "async_accept.contrib.prometheus" if "prometheus" in module else module
        for level in re.findall(
            r"^ +logger\.(warning|error|exception|critical)\(", file.read_text(), re.MULTILINE
        ):
            written.add((module, level.replace("exception", "error")))
    assert len(written) > 30
    assert written - known == set()
    assert known - written == {("celery.app.trace", "error")}


def test_every_option_of_a_view_is_documented():
    options = [name for name in vars(AcceptOptions) if name.startswith("accept_")]
    assert not documented("reference/views", options)


def test_the_code_is_where_its_page_says():
    named = re.findall(r"``([\w/]+\.py): ([\w.]+)``", PAGES["contributing/code"])
    assert len(named) > 20
    for file, name in named:
        module = import_module("async_accept." + file.removesuffix(".py").replace("/", "."))
        assert attrgetter(name)(module), name


def test_every_package_has_its_line_on_the_page_of_the_code():
    places = {path.stem for path in (ROOT / "async_accept").iterdir() if (path / "__init__.py").exists()}
    places |= {path.stem for path in (ROOT / "async_accept").glob("[a-z]*.py")}
    page = PAGES["contributing/code"]
    assert [name for name in sorted(places - {"migrations"}) if not re.search(rf"``{name}/?``", page)] == []


def test_every_testing_helper_is_documented():
    assert not documented("reference/testing", testing.__all__)


def test_commands_in_the_docs_exist():
    named = {name for text in PAGES.values() for name in re.findall(r"manage\.py (\w+)", text)}
    named |= set(re.findall(r"manage\.py (\w+)", (ROOT / "README.rst").read_text()))
    assert named - {"demo", "seed"} <= set(get_commands())  # these are the example project's


def test_every_option_of_the_command_is_documented():
    parser = load_command_class("async_accept", "async_accept").create_parser("manage.py", "async_accept")
    [words] = [action.choices for action in parser._actions if action.dest == "word"]
    theirs = {flag for word in words.values() for action in word._actions for flag in action.option_strings}
    common = {
        flag for action in BaseCommand().create_parser("", "")._actions for flag in action.option_strings
    }
    assert not documented("reference/commands", sorted({*words, *(theirs - common)}))
