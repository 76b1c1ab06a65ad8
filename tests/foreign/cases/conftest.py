from collections.abc import Iterator
from typing import Any

import pytest
from django.test.utils import setup_databases, teardown_databases
from django.utils import translation

from tests.foreign.celery import app

from . import world


def _name(item: Any) -> str:
    name: str = item.name.removeprefix("test_")
    return name.removeprefix("twin[").removesuffix("]") if name.startswith("twin[") else name


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Refuse two cases of one name."""
    # A module here imports the shop's worker, and with it the shop's app.
    app.set_default()
    app.set_current()
    names = [_name(item) for item in items]
    if twice := {name for name in names if names.count(name) > 1}:
        raise pytest.UsageError(f"Two cases of one name: {twice}.")


@pytest.fixture(autouse=True)
def _speaks_english() -> Iterator[None]:
    """A request leaves its language active, which the next case would speak."""
    yield
    translation.activate("en")


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """Make both databases; pytest-django would make those that a mark names."""
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False)
        yield
        teardown_databases(made, verbosity=0)


@pytest.fixture(autouse=True)
def _world(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Each case finds the same world. Nothing is rolled back: its transactions are its own."""
    with django_db_blocker.unblock():
        world.make()
        yield
