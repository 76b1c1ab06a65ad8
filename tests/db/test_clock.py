"""The database's clock in Python: asked seldom, and in the form of the columns."""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections
from django.utils import timezone

from async_accept.db import clock
from async_accept.db.clock import ASK_SECONDS, as_stored, aware, local, now
from async_accept.db.functions import DatabaseNow, from_now

pytestmark = pytest.mark.django_db


@pytest.fixture
def wrong_clock(monkeypatch):
    """Set the clock of this machine, but not that of the database."""
    right, monotonic = time.time, clock.steady

    def set_clock(hours=0.0, later=0.0):
        monkeypatch.setattr(clock.time, "time", lambda: right() + hours * 3600)
        monkeypatch.setattr(clock, "steady", lambda: monotonic() + later)

    monkeypatch.setattr(clock, "_readings", {})
    return set_clock


def of_database():
    rows = ContentType.objects.annotate(now=DatabaseNow(), later=from_now(timedelta(hours=1)))
    return rows.values_list("now", "later").first()


def apart(one, other):
    return abs((one - other).total_seconds())


@pytest.mark.parametrize("hours", [0, -25, 24 * 31])
@pytest.mark.parametrize(("use_tz", "zone"), [(True, "UTC"), (False, "UTC"), (False, "Asia/Kolkata")])
def test_it_is_the_clock_of_the_expressions(settings, wrong_clock, hours, use_tz, zone):
    settings.USE_TZ, settings.TIME_ZONE = use_tz, zone
    ContentType.objects.exists()
    wrong_clock(hours)
    mine, (theirs, later) = now("default"), of_database()
    assert timezone.is_aware(mine) == use_tz
    assert apart(mine, theirs) < 1
    assert apart(theirs + timedelta(hours=1), later) < 1


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kolkata"])
def test_the_columns_may_have_a_time_zone_of_their_own(zone, monkeypatch):
    """``TIME_ZONE`` in ``DATABASES``."""
    own = connections["default"]
    monkeypatch.setitem(vars(own), "timezone_name", zone)
    monkeypatch.setitem(vars(own), "timezone", ZoneInfo(zone))
    own.ensure_timezone()
    try:
        assert apart(of_database()[0], timezone.now()) < 60
    finally:
        monkeypatch.undo()
        own.ensure_timezone()


def test_it_costs_no_statement(wrong_clock, django_assert_num_queries):
    wrong_clock(-25)
    with django_assert_num_queries(0):
        now("default")


def test_it_is_asked_seldom(wrong_clock, monkeypatch):
    asked, ask = [], clock._ask
    monkeypatch.setattr(clock, "_ask", lambda using: asked.append(using) or ask(using))
    ContentType.objects.exists()
    for later in (0, ASK_SECONDS - 1, ASK_SECONDS + 1):
        wrong_clock(later=later)
        now("default")
        now("default")
    assert len(asked) == 2


def test_a_machine_that_slept_knows_it(wrong_clock):
    """The steady clock goes on; between two questions it counts."""
    ContentType.objects.exists()
    wrong_clock()
    before = now("default")
    wrong_clock(later=30)
    assert 29 < (now("default") - before).total_seconds() < 31


@pytest.mark.django_db(transaction=True)
def test_without_a_connection_the_last_answer_counts(wrong_clock):
    ContentType.objects.exists()
    wrong_clock(-25)
    now("default")
    connection.close()
    wrong_clock(-25, later=2 * ASK_SECONDS)
    right = datetime.now(UTC) + timedelta(seconds=2 * ASK_SECONDS)
    assert apart(now("default"), right) < 1
    assert connection.connection is None


@pytest.mark.django_db(transaction=True)
def test_a_database_that_does_not_answer_is_no_error(wrong_clock, monkeypatch):
    ContentType.objects.exists()
    wrong_clock()
    monkeypatch.setitem(clock.QUESTIONS, connection.vendor, "SELECT nothing FROM nowhere")
    assert apart(now("default"), timezone.now()) < 1


def test_times_have_the_form_of_the_columns(settings):
    noon = datetime(2026, 5, 4, 12, tzinfo=UTC)
    assert as_stored(noon) == noon
    settings.USE_TZ, settings.TIME_ZONE = False, "Asia/Kolkata"
    naive = datetime(2026, 5, 4, 17, 30)  # noqa: DTZ001 as stored
    assert as_stored(noon) == naive
    assert aware(naive) == noon
    assert local(naive).hour == 17
