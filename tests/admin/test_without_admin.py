"""A project without Django's admin has everything else."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = """
from tests import settings
settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django.contrib.admin"]
import sys, types
from django.urls import include, path
urls = sys.modules["urls"] = types.ModuleType("urls")
settings.ROOT_URLCONF = "urls"
import django; django.setup()
urls.urlpatterns = [path("jobs/", include("async_accept.urls"))]
from django.core.management import call_command
from django.template import engines
call_command("check")
page = engines["django"].from_string("{% load async_accept %}{% async_job None %}ready")
print(page.render().strip())
"""


@pytest.mark.programs
def test_a_project_without_the_admin_checks_and_renders():
    done = subprocess.run(
        [sys.executable, "-c", PROJECT], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("ready")
