"""The seats of event streams."""

from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from rest_framework.exceptions import Throttled
from rest_framework.test import APIRequestFactory

from async_accept.exceptions import Unavailable
from async_accept.http.seats import UNREAD_SECONDS, Seats
from tests.clocks import Clock
from tests.forks import in_child


@pytest.fixture
def seats(settings):
    settings.ASYNC_ACCEPT = {"MAX_STREAMS": 4, "MAX_STREAMS_PER_CALLER": 2}
    return Seats(Clock())


def of(user=None, address="10.0.0.1"):
    request = APIRequestFactory().get("/", REMOTE_ADDR=address)
    request.user = user
    return request


ALICE, BOB = (get_user_model()(pk=pk) for pk in (1, 2))
OTHERS = {
    "user": of(BOB),
    "address": of(address="10.0.0.2"),
    "no user of the project": of(SimpleNamespace(is_authenticated=True, pk=1)),
}


@pytest.mark.parametrize("caller", [of(ALICE), of()], ids=["user", "address"])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_nobody_takes_more_than_their_share(seats, caller, other):
    for _ in range(2):
        seats.take(caller)
    with pytest.raises(Throttled) as refused:
        seats.take(caller)
    assert refused.value.wait >= 1
    if not (caller.user is None and other is OTHERS["no user of the project"]):  # both are addresses
        seats.take(other)


def test_the_process_has_so_many_and_no_more(seats):
    for caller in (of(ALICE), of(BOB), of(), of(address="10.0.0.2")):
        seats.take(caller)
    with pytest.raises(Unavailable) as refused:
        seats.take(of(address="10.0.0.3"))
    assert refused.value.wait >= 1


def test_a_seat_is_free_again_once(seats):
    first = seats.take(of(ALICE))
    seats.take(of(ALICE))
    for _ in range(3):
        first.leave()
    seats.take(of(ALICE))
    assert (seats.total, dict(seats.taken)) == (2, {"user 1": 2})
    with pytest.raises(Throttled):
        seats.take(of(ALICE))


def test_no_caller_is_remembered(seats):
    for number in range(10):
        seats.take(of(address=f"10.0.1.{number}")).leave()
    seats.take(of(ALICE)).leave()
    assert len(seats.taken) <= 1


def test_no_cap(seats, settings):
    settings.ASYNC_ACCEPT = {"MAX_STREAMS": None, "MAX_STREAMS_PER_CALLER": None}
    for _ in range(10):
        seats.take(of(ALICE))


def test_a_seat_may_be_left_while_the_lock_is_held(seats):
    """The garbage collector may do that at any moment."""
    seat = seats.take(of(ALICE))
    with seats.lock:
        seat.leave()
    assert seats.take(of(BOB))
    assert seats.total == 1


def test_a_seat_whose_stream_nobody_reads_is_lost(seats):
    """The client went away while the stream was opened, and the response was dropped somewhere."""
    read, lost = seats.take(of(ALICE)), seats.take(of(ALICE))
    read.begin()
    seats.clock.go_on(UNREAD_SECONDS - 1)
    with pytest.raises(Throttled):
        seats.take(of(ALICE))
    seats.clock.go_on(1)
    third = seats.take(of(ALICE))
    with pytest.raises(Throttled):
        seats.take(of(ALICE))
    lost.leave()  # the garbage collector has found it
    with pytest.raises(Throttled):
        seats.take(of(ALICE))
    read.leave()
    third.leave()
    assert seats.take(of(BOB))
    assert (seats.total, dict(seats.taken)) == (1, {"user 2": 1})


def test_who_begins_late_has_a_seat_all_the_same(seats):
    """A process that is very busy opens slowly."""
    late, other = seats.take(of(ALICE)), seats.take(of(BOB))
    seats.clock.go_on(UNREAD_SECONDS)
    seats.take(of(ALICE))
    late.begin()
    assert dict(seats.taken) == {"user 1": 2}
    with pytest.raises(Throttled):
        seats.take(of(ALICE))
    for _ in range(2):
        late.leave()
        other.leave()
    seats.take(of(ALICE))
    assert dict(seats.taken) == {"user 1": 2}


def test_a_forked_process_has_none_taken(seats):
    seats.take(of(ALICE))
    seats.lock.acquire()
    assert in_child(lambda: (seats.total, dict(seats.taken), seats.lock.locked()) == (0, {}, False))
    seats.lock.release()
