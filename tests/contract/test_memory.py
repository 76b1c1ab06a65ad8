"""Contract 11: what a process remembers spares queries, and hides no change for longer than a heartbeat."""

from datetime import timedelta

import pytest

from async_accept.http.not_modified import not_modified
from async_accept.models import Job
from tests.contract.conftest import url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock(monkeypatch, settings):
    """The memory's clock, which stands still unless a test moves it; a heartbeat is a minute of it."""
    settings.ASYNC_ACCEPT = settings.ASYNC_ACCEPT | {"HEARTBEAT": timedelta(minutes=1)}
    now = [0.0]
    monkeypatch.setattr(not_modified, "clock", lambda: now[0])
    return now


@pytest.mark.parametrize(("method", "endpoint"), [("POST", "cancel/"), ("DELETE", "")])
def test_a_change_made_here_is_seen_at_once(job, alice, clock, method, endpoint):
    """Contract 9, 11: whoever was answered a change is not told afterwards that nothing is new."""
    running = job("running")
    tag = {"If-None-Match": alice.get(url(running)).headers["ETag"]}
    assert alice.get(url(running), headers=tag).status_code == 304
    assert alice(method, url(running, endpoint)).status_code == 202
    assert alice.get(url(running), headers=tag).status_code == (200 if endpoint else 404)


def test_a_change_made_elsewhere_is_seen_after_a_heartbeat(job, alice, clock):
    """Contract 11: 304 is from memory for one heartbeat, and from the database after it."""
    waiting = job("accepted")
    tag = {"If-None-Match": alice.get(url(waiting)).headers["ETag"]}
    Job.objects.get().claim("w", 1)
    clock[0] = 59.9
    assert alice.get(url(waiting), headers=tag).status_code == 304
    clock[0] = 60.0
    news = alice.get(url(waiting), headers=tag)
    assert (news.status_code, news.json()["status"]) == (200, "running")
