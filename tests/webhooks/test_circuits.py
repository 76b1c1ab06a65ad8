"""A host that answers slowly gets a few deliveries at a time; others wait for none of them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from async_accept.testing import make_job
from async_accept.webhooks import circuits
from async_accept.webhooks.delivering import deliver
from async_accept.webhooks.models import Delivery, Host
from tests.webhooks.conftest import come_back_later, past, send_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def slow(endpoint, receiver, alice, monkeypatch):
    """The receiver has answered once, and slowly."""
    monkeypatch.setattr(circuits, "SLOW_SECONDS", 0.0)
    make_job(owner=alice, state="succeeded")
    assert send_due() == 1
    Host.objects.update(closed_until=past())


def waiting():
    return Delivery.objects.filter(state="waiting").order_by("id")


def begin(rows):
    """Let these deliveries be under way."""
    for row in rows:
        assert row.claim()


def test_a_slow_answer_is_remembered_until_a_quick_one(slow, receiver, alice, monkeypatch):
    assert [host.failures for host in Host.objects.all()] == [0]
    make_job(owner=alice, state="succeeded")
    monkeypatch.setattr(circuits, "SLOW_SECONDS", 60.0)
    assert send_due() == 1
    assert len(receiver.got) == 2
    assert not Host.objects.exists()


def test_a_slow_host_is_tried_by_few_at_a_time(slow, receiver, alice):
    for _ in range(circuits.FEW + 2):
        make_job(owner=alice, state="succeeded")
    *others, third, second, first = waiting()
    begin(others)
    deliver(first.pk)
    assert len(receiver.got) == 2
    begin([second])
    Host.objects.update(closed_until=past())
    deliver(third.pk)
    assert len(receiver.got) == 2
    third.refresh_from_db()
    assert (third.state, third.attempt) == ("waiting", 0)
    assert third.try_at > timezone.now() + circuits.SLOW_PAUSE / 2
    Delivery.objects.filter(state="sending").update(publish_at=past())  # their sender is gone
    come_back_later()
    deliver(third.pk)
    assert len(receiver.got) == 3


def test_two_at_once_are_not_both_the_last_of_few(slow, receiver, alice, monkeypatch):
    """The second one cannot see yet that the first one has begun."""
    monkeypatch.setattr(circuits, "GAP", timedelta(hours=1))
    for _ in range(2):
        make_job(owner=alice, state="succeeded")
    admitted = [circuits.admits(row, 0) for row in waiting()]
    assert admitted == [True, False]


def test_many_that_are_quick_do_not_wait_for_each_other(endpoint, receiver, alice):
    for _ in range(circuits.FEW + 1):
        make_job(owner=alice, state="succeeded")
    begin(waiting()[: circuits.FEW])
    deliver(waiting().get().pk)
    assert len(receiver.got) == 1


def test_what_has_waited_for_long_waits_longer(slow, alice):
    make_job(owner=alice, state="succeeded")
    for waited, least in [
        (timedelta(minutes=4), timedelta(minutes=2)),
        (timedelta(days=2), circuits.LONGEST_PAUSE),
    ]:
        row = waiting().get()
        row.created_at = timezone.now() - waited
        Delivery.objects.update(try_at=past())
        circuits.put_off(row, 0)
        wait = waiting().get().try_at - timezone.now()
        assert least - timedelta(seconds=5) < wait <= 2 * least + timedelta(seconds=5)
