"""System checks: each fires when it should, is silent when it should be, and its hint names the remedy.

Here is what concerns all of them; the others stand in files like those of `async_accept/checks/`.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from celery import current_app
from django.core import checks as django_checks
from django.db import connections

from async_accept import checks

ROOT = Path(__file__).resolve().parents[2]


def test_the_tests_own_project_has_nothing_to_mend():
    assert current_app.main != "default"
    messages = django_checks.run_checks(tags=[checks.TAG])
    assert [message for message in messages if message.level > django_checks.INFO] == []


def test_ids_are_known():
    """An id is a promise: it can be silenced, and the documentation explains it."""
    source = "".join(path.read_text() for path in Path(checks.__file__).parent.glob("*.py"))
    used = {f"E{int(n):03}" for n in re.findall(r"error\(\s*(\d+)", source)}
    used |= {f"W{int(n):03}" for n in re.findall(r"warning\(\s*(\d+)", source)}
    assert used == {f"E{n:03}" for n in (*range(2, 14), 17)} | {f"W{n:03}" for n in (*range(1, 17), 19)}


ADMIN = [f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "messages")]
ORDERS = [
    [*ADMIN, "rest_framework", "async_accept"],
    ["async_accept", "rest_framework", *ADMIN],
    [*ADMIN, "tests.testapp", "async_accept"],
    [*ADMIN, "async_accept", "tests.testapp"],
]
#: Prints the last line of what each order raises. Apps load once, so each is loaded in a process of its own.
SETUP = """
import os, sys, django
from django.conf import settings

for apps in sys.argv[1:]:
    if os.fork() == 0:
        settings.configure(INSTALLED_APPS=apps.split(","))
        try:
            django.setup()
        except Exception as error:
            print(type(error).__name__, str(error).splitlines()[-1], flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.programs
def test_a_missing_results_app_is_told_with_the_line_that_adds_it():
    """E001, in every order of the apps, before Django looks for the admin of this app."""
    command = [sys.executable, "-c", SETUP, *map(",".join, ORDERS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(ORDERS), done.stdout + done.stderr
    for line in lines:
        assert line.startswith("ImproperlyConfigured ")
        assert 'INSTALLED_APPS += ["django_celery_results"]  (async_accept.E001)' in line


def test_notes_are_told_before_a_deployment_only(monkeypatch):
    """A new project has nothing to read after the README's edits."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert not [m for m in django_checks.run_checks(tags=[checks.TAG]) if m.level < django_checks.WARNING]
    deployed = django_checks.run_checks(tags=[checks.TAG], include_deployment_checks=True)
    assert "async_accept.I002" in {message.id for message in deployed}
