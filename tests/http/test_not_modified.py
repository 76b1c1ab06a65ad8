"""The cache of 304s: for whom it answers, and when it forgets."""

from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser

from async_accept.conf import conf
from async_accept.http import not_modified as module
from async_accept.http.not_modified import NotModifiedCache
from async_accept.models import Job


def user(pk=1, is_active=True):
    return get_user_model()(pk=pk, is_active=is_active)


NOBODY = AnonymousUser()
#: A caller that authentication made up from a token: the key is not one of ours.
STRANGER = SimpleNamespace(pk=1, is_authenticated=True, is_active=True)
HEADERS = {"ETag": '"a"'}


@pytest.fixture
def cache():
    cache = NotModifiedCache(clock=lambda: cache.seconds)
    cache.seconds = 0.0
    return cache


@pytest.fixture
def job():
    return Job(id=uuid4(), owner_id=1)


def test_it_recalls_for_the_owner_within_one_heartbeat(cache, job):
    cache.remember(job, "json", HEADERS, cache.now())
    assert cache.recall(job.pk, "json", user()) == HEADERS
    assert cache.recall(job.pk, "html", user()) is None
    assert cache.recall(uuid4(), "json", user()) is None
    for other in (user(2), user(is_active=False), NOBODY, STRANGER, None):
        assert cache.recall(job.pk, "json", other) is None
    cache.seconds = conf.HEARTBEAT.total_seconds()
    assert cache.recall(job.pk, "json", user()) is None


def test_a_job_without_owner_is_for_nobody_and_an_anonymous_job_for_everybody(cache):
    orphan, anonymous = Job(id=uuid4()), Job(id=uuid4(), anonymous=True)
    for job in (orphan, anonymous):
        cache.remember(job, "json", HEADERS, cache.now())
    for caller in (user(), NOBODY, None):
        assert cache.recall(orphan.pk, "json", caller) is None
        assert cache.recall(anonymous.pk, "json", caller) == HEADERS


def test_it_forgets_every_representation_of_a_changed_job(cache, job):
    for representation in ("json", "html"):
        cache.remember(job, representation, HEADERS, cache.now())
    cache.forget(job.pk)
    assert not cache.sent


def test_a_row_that_was_read_before_a_change_is_not_remembered_after_it(cache, job):
    since = cache.now()
    cache.forget(job.pk)
    cache.remember(job, "json", HEADERS, since)
    assert cache.recall(job.pk, "json", user()) is None


def test_the_heartbeat_counts_from_when_the_row_was_read(cache, job):
    """However long the response took, or its client waited."""
    since = cache.now()
    cache.seconds += conf.HEARTBEAT.total_seconds() - 0.01
    cache.remember(job, "json", HEADERS, since)
    assert cache.recall(job.pk, "json", user()) == HEADERS
    cache.seconds += 0.01
    assert cache.recall(job.pk, "json", user()) is None


def test_its_size_is_bounded(cache, monkeypatch):
    monkeypatch.setattr(module, "SIZE", 3)
    for _ in range(5):
        cache.remember(Job(id=uuid4()), "json", HEADERS, cache.now())
    assert len(cache.sent) == 3
