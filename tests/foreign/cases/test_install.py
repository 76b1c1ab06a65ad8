"""10.10: the first five minutes in this project."""

import os
import subprocess
import sys

import pytest
from django.core import checks
from kombu import Producer

from async_accept.testing import run_accepted_jobs

from .twins import Case, caller, send


def test_checks_are_silent() -> None:
    """After the README's three edits nothing is left to be said."""
    assert checks.run_checks() == []


def test_no_admin_is_needed() -> None:
    """Templates can be loaded, and the checks find no error."""
    code = "import django; django.setup(); from django.template import engines; engines['django'].from_string('');"
    code += "from django.core.management import call_command; call_command('check')"
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.foreign.bare_settings"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr


def test_other_tasks_stay_in_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """``run_accepted_jobs()`` reaches no broker, whatever the work leaves to other tasks."""
    case = Case("", "/v1/work/send_mail/", json={})
    send(case, caller(case))
    published = []
    monkeypatch.setattr(Producer, "publish", lambda *args, **kwargs: published.append(kwargs))

    run_accepted_jobs()

    assert published == []
