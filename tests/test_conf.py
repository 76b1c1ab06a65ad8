"""Settings: one dict, looked up when used."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import override_settings

from async_accept import conf as module
from async_accept.conf import DEFAULTS, conf

PACKAGE = Path(module.__file__).parent


def test_a_setting_that_is_not_set_has_its_default():
    with override_settings(ASYNC_ACCEPT={}):
        assert conf.LEASE.total_seconds() == 15


def test_a_setting_is_looked_up_when_it_is_used():
    with override_settings(ASYNC_ACCEPT={"LEASE": timedelta(minutes=1)}):
        assert conf.LEASE.total_seconds() == 60
    assert conf.LEASE.total_seconds() == 15


def test_no_dict_at_all_means_every_default(settings):
    if hasattr(settings, "ASYNC_ACCEPT"):
        del settings.ASYNC_ACCEPT
    assert conf.MAX_ATTEMPTS == 5


def test_a_name_that_does_not_exist_is_an_error_in_our_own_code():
    with pytest.raises(AttributeError, match="NO_SUCH_THING"):
        _ = conf.NO_SUCH_THING


def test_every_setting_is_explained_and_used():
    """The documentation is made from the comments."""
    lines = Path(module.__file__).read_text().splitlines()
    everywhere = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    for name in DEFAULTS:
        (number,) = [n for n, line in enumerate(lines) if line.startswith(f'    "{name}":')]
        assert lines[number - 1].lstrip().startswith(("#", '"')), name
        assert re.search(rf'conf\.{name}\b|FromSetting\(\s*"{name}"', everywhere), name
