"""Who is on duty: one relay looks for the jobs of all, and is missed soon when it is gone."""

from datetime import timedelta

import pytest
from django.db import ProgrammingError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_accept.conf import conf
from async_accept.jobs import duty as module
from async_accept.jobs.broker import Broker
from async_accept.jobs.duty import Duty
from async_accept.jobs.relay import Relay
from async_accept.models import RelayDuty

pytestmark = pytest.mark.django_db

INTERVAL = conf.RELAY_INTERVAL


class Time:
    """The database's clock, by hand."""

    def __init__(self):
        self.now = self.began = timezone.now()

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = Time()
    monkeypatch.setattr(module, "database_now", clock)
    return clock


class Many:
    """Relays that ask when their time has come."""

    def __init__(self, clock, count):
        self.clock = clock
        self.asks = {Duty(): clock.now for _ in range(count)}

    def go_on(self, duration):
        """Let them ask for so long."""
        until = self.clock.now + duration
        while True:
            duty = min(self.asks, key=self.asks.__getitem__)
            if self.asks[duty] > until:
                break
            self.clock.now = max(self.asks[duty], self.clock.now)
            self.asks[duty] = self.clock.now + (INTERVAL if duty.take() else duty.rest)
        self.clock.now = until

    def on_duty(self):
        return [duty for duty in self.asks if duty.is_mine]


def test_one_of_many_is_on_duty(clock):
    many = Many(clock, 5)
    many.go_on(INTERVAL)
    [first] = many.on_duty()
    many.go_on(20 * INTERVAL)
    assert many.on_duty() == [first]


@pytest.mark.parametrize("count", [2, 50])
def test_one_that_is_gone_is_missed_within_two_intervals(clock, count):
    many = Many(clock, count)
    many.go_on(30 * INTERVAL)
    [gone] = many.on_duty()
    del many.asks[gone]
    many.go_on(2 * INTERVAL)
    assert len(many.on_duty()) == 1


def test_fifty_workers_ask_as_little_as_a_few(clock):
    many = Many(clock, 50)
    many.go_on(30 * INTERVAL)
    with CaptureQueriesContext(connection) as queries:
        many.go_on(20 * INTERVAL)
    # Five a second together is the goal; the one on duty asks four more in each interval, about the jobs.
    assert len(queries) / (20 * INTERVAL.total_seconds()) < 5 - 5 / INTERVAL.total_seconds()


def test_the_last_of_many_looks_in_the_end(clock):
    many = Many(clock, 50)
    many.go_on(INTERVAL)
    last = max(many.asks, key=many.asks.__getitem__)
    many.asks = {last: many.asks[last]}
    many.go_on(module.LONGEST_REST * INTERVAL)
    assert last.is_mine


def test_one_that_stops_makes_room_at_once(clock):
    first, second = Duty(), Duty()
    assert first.take()
    assert not second.take()
    first.leave()
    assert second.take()
    assert not first.take()


def test_one_that_stood_still_does_not_take_the_duty_back(clock):
    first, second = Duty(), Duty()
    assert first.take()
    clock.now += 2 * INTERVAL
    assert second.take()
    assert not first.take()
    assert first.rest > timedelta()


def test_the_duty_of_another_cannot_be_left(clock):
    first, second = Duty(), Duty()
    assert first.take()
    assert not second.take()
    second.leave()
    assert RelayDuty.objects.get().until > clock.now


# --- The relay ------------------------------------------------------------------------------------------------


@pytest.fixture
def relay(monkeypatch):
    relay = Relay(Broker(1))
    relay.ticks = []
    monkeypatch.setattr(relay, "tick", lambda: relay.ticks.append(1))
    return relay


@pytest.fixture
def other():
    """Another relay, which is on duty."""
    other = Duty()
    assert other.take()
    return other


def test_a_relay_that_is_not_on_duty_rests(relay, other):
    assert relay.turn() == relay.duty.rest
    assert relay.ticks == []


def test_a_relay_that_is_called_ticks_once(relay, other):
    relay.called = True
    assert relay.turn() == INTERVAL
    relay.turn()
    assert relay.ticks == [1]


def test_a_relay_that_cannot_tell_ticks(relay, monkeypatch, caplog):
    def fail():
        raise ProgrammingError("there is no such table")

    monkeypatch.setattr(relay.duty, "take", fail)
    relay.turn()
    assert relay.ticks == [1]
    assert "The relay cannot ask who is on duty: ProgrammingError" in caplog.text


def test_a_relay_whose_broker_is_away_lets_another_one_try(relay):
    relay.broker.pause_until = float("inf")
    relay.turn()
    assert relay.ticks == [1]
    assert Duty().take()
