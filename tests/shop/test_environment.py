from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured

from example_project import environment as env


def test_sqlite_is_made_fit_for_several_writers(tmp_path):
    entry = env.database(f"sqlite:///{tmp_path}/sub/shop.sqlite3")
    assert (tmp_path / "sub").is_dir()
    assert entry["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "WAL" in entry["OPTIONS"]["init_command"]


@pytest.mark.parametrize(
    ("url", "engine"),
    [
        ("postgresql://shop:p%40ss@db:5433/shop?sslmode=require", "postgresql"),
        ("mysql://shop:p%40ss@db:5433/shop", "mysql"),
        ("mariadb://shop:p%40ss@db:5433/shop", "mysql"),
    ],
)
def test_server_is_named_by_its_url(url, engine):
    entry = env.database(url)
    assert entry["ENGINE"] == f"django.db.backends.{engine}"
    assert (entry["USER"], entry["PASSWORD"], entry["HOST"], entry["PORT"], entry["NAME"]) == (
        "shop",
        "p@ss",
        "db",
        5433,
        "shop",
    )
    assert entry["OPTIONS"]["connect_timeout"] == 3


def test_options_of_the_url_win():
    options = env.database("postgresql://db/shop?connect_timeout=9&sslmode=require")["OPTIONS"]
    assert options == {"connect_timeout": 9, "sslmode": "require"}


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("no", False), ("", True), ("TRUE", True)])
def test_flags(monkeypatch, value, expected):
    monkeypatch.setenv("SOME_FLAG", value)
    assert env.flag("SOME_FLAG", True) is expected


def test_flag_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("SOME_FLAG", "flase")
    with pytest.raises(ImproperlyConfigured, match="SOME_FLAG"):
        env.flag("SOME_FLAG")


def test_number_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("SOME_NUMBER", "ten")
    with pytest.raises(ImproperlyConfigured, match="SOME_NUMBER"):
        env.number("SOME_NUMBER", 1)


def test_settings_of_the_package_are_durations_and_switches(monkeypatch):
    monkeypatch.setenv("ASYNC_ACCEPT_LEASE_SECONDS", "3")
    monkeypatch.setenv("ASYNC_ACCEPT_RELAY_IN_WORKER", "0")
    monkeypatch.setenv("ASYNC_ACCEPT_MAX_ATTEMPTS", "9")
    found = env.package_settings()
    assert (found["LEASE"], found["RELAY_IN_WORKER"]) == (timedelta(seconds=3), False)
    assert not {"HEARTBEAT", "MAX_ATTEMPTS"} & set(found)
