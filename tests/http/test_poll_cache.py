"""What this process remembers of its answers, and when it forgets."""

from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser

from async_accept.conf import conf
from async_accept.http import poll_cache as module
from async_accept.http.poll_cache import Polls
from async_accept.models import Job


def user(pk=1, is_active=True):
    return get_user_model()(pk=pk, is_active=is_active)


NOBODY = AnonymousUser()
#: A caller that authentication made up from a token: the key is not one of ours.
STRANGER = SimpleNamespace(pk=1, is_authenticated=True, is_active=True)


@pytest.fixture
def polls():
    polls = Polls(clock=lambda: polls.seconds)
    polls.seconds = 0.0
    return polls


@pytest.fixture
def job():
    return Job(id=uuid4(), owner_id=1)


def test_it_recalls_for_the_owner_within_one_heartbeat(polls, job):
    polls.remember(job, "json", '"a"', {"ETag": '"a"'}, polls.now())
    assert polls.recall(job.pk, "json", user()).etag == '"a"'
    assert polls.recall(job.pk, "html", user()) is None
    assert polls.recall(uuid4(), "json", user()) is None
    for other in (user(2), user(is_active=False), NOBODY, STRANGER, None):
        assert polls.recall(job.pk, "json", other) is None
    polls.seconds = conf.HEARTBEAT.total_seconds()
    assert polls.recall(job.pk, "json", user()) is None


def test_a_job_without_owner_is_nobodys_but_an_anonymous_ones_is_anybodys(polls):
    orphan, anonymous = Job(id=uuid4()), Job(id=uuid4(), anonymous=True)
    for job in (orphan, anonymous):
        polls.remember(job, "json", '"a"', {}, polls.now())
    for caller in (user(), NOBODY, None):
        assert polls.recall(orphan.pk, "json", caller) is None
        assert polls.recall(anonymous.pk, "json", caller) is not None


def test_it_forgets_every_form_of_a_changed_job(polls, job):
    for form in ("json", "html"):
        polls.remember(job, form, '"a"', {}, polls.now())
    polls.forget(job.pk)
    assert not polls.known


def test_what_was_read_before_a_change_is_not_remembered_after_it(polls, job):
    since = polls.now()
    polls.forget(job.pk)
    polls.remember(job, "json", '"old"', {}, since)
    assert polls.recall(job.pk, "json", user()) is None


def test_it_counts_from_when_the_row_was_read(polls, job):
    """What is older than a heartbeat is asked for anew, however long the answer took or its client waited."""
    since = polls.now()
    polls.seconds += conf.HEARTBEAT.total_seconds() - 0.01
    polls.remember(job, "json", '"a"', {}, since)
    assert polls.recall(job.pk, "json", user()) is not None
    polls.seconds += 0.01
    assert polls.recall(job.pk, "json", user()) is None


def test_it_holds_so_many_jobs(polls, monkeypatch):
    monkeypatch.setattr(module, "SIZE", 3)
    for _ in range(5):
        polls.remember(Job(id=uuid4()), "json", '"a"', {}, polls.now())
    assert len(polls.known) == 3
