from types import SimpleNamespace

import pytest
from celery import Celery
from django.test import override_settings
from django.urls import include, path

from async_accept import checks


def told(check):
    """Return what a check tells, by its id without the app's name."""
    return {message.id.removeprefix("async_accept."): message for message in check()}


def set_to(**values):
    return override_settings(ASYNC_ACCEPT=values)


def urlconf(*patterns):
    return type("urls", (), {"urlpatterns": list(patterns)})


def mounted(*views):
    """Let these views be the project's only ones."""
    patterns = [path(f"{number}/", view) for number, view in enumerate(views)]
    return override_settings(ROOT_URLCONF=urlconf(path("api/", include(patterns))))


@pytest.fixture
def celery(monkeypatch):
    """Make a Celery app, as the current one, with these options."""

    def make(**options):
        app = Celery("checked", set_as_current=False)
        app.config_from_object({"broker_url": "memory://", "result_backend": "django-db", **options})
        monkeypatch.setattr(checks.celery, "current_app", app)
        return app

    return make


@pytest.fixture
def database(monkeypatch, tmp_path):
    """Let the default database seem to be another one; return the path of its file."""

    def pretend(vendor="sqlite", name="shop.sqlite3", max_age=0, **options):
        given = {"NAME": str(tmp_path / name), "CONN_MAX_AGE": max_age, "OPTIONS": options}
        connection = SimpleNamespace(vendor=vendor, settings_dict=given)
        for module in (checks.celery, checks.databases, checks.pools):
            monkeypatch.setattr(module, "connections", {"default": connection})
        return tmp_path / name

    return pretend
