"""E003: the URLs of the jobs. Those below versions: tests/test_urls.py."""

from django.test import override_settings

from async_accept.checks import check_urls
from tests.checks.conftest import told, urlconf


def test_mounted_urls_are_not_told():
    assert told(check_urls) == {}


def test_urls_that_are_not_mounted_are_told_with_the_line_that_mounts_them():
    with override_settings(ROOT_URLCONF=urlconf()):
        message = told(check_urls)["E003"]
    assert 'path("api/jobs/", include("async_accept.urls"))' in message.hint
