"""The filters and the search of the list."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_accept.admin import filters
from async_accept.db.functions import from_now
from async_accept.states import State
from async_accept.testing import make_job
from tests.admin.conftest import LIST, listed, page

pytestmark = pytest.mark.django_db


# --- Filters ----------


def test_filter_by_state(boss):
    jobs = {str(state): make_job(state=state, result=1) for state in State}
    for state, job in jobs.items():
        assert listed(boss, f"?state={state}") == [job]
    for group, states in {
        "active": ("accepted", "running", "canceling"),
        "ended": ("succeeded", "failed", "canceled"),
        "leased": ("running", "canceling"),
    }.items():
        assert set(listed(boss, f"?state={group}")) == {jobs[state] for state in states}


def test_filter_by_a_failure_of_the_past_day(boss):
    """By when it failed, not by when it was accepted."""
    day = timedelta(hours=24)
    late = timezone.now() - day * 2
    failed = make_job(state="failed", created_at=late, finished_at=timezone.now() - day * 0.9)
    make_job(state="failed", created_at=late, finished_at=timezone.now() - day * 1.1)
    make_job(state="succeeded", result=1)
    assert listed(boss, "?attention=failed") == [failed]


def test_filter_by_attention(boss):
    old = timezone.now() - timedelta(minutes=6)
    make_job()
    make_job(state="running")
    make_job(state="succeeded", result=1, created_at=old)
    waiting = make_job(created_at=old)
    later = make_job(created_at=old, attempt=1, dispatch_at=timezone.now() + timedelta(hours=1))
    unheard = make_job(created_at=old, attempt=1, dispatch_at=old)
    lost = make_job(state="running", lease_until=from_now(timedelta(seconds=-5)))

    assert set(listed(boss, "?attention=waiting")) == {waiting, unheard}
    assert listed(boss, "?attention=lost") == [lost]
    assert set(listed(boss, "?attention=any")) == {waiting, unheard, lost}
    assert later not in listed(boss, "?attention=any")


def test_filter_by_operation(boss):
    make_job(operation="a.b")
    wanted = make_job(operation="a.c")
    assert listed(boss, "?operation=a.c") == [wanted]


@pytest.mark.parametrize(("span", "hours"), [("1h", 1), ("24h", 24), ("7d", 168)])
def test_filter_by_time(boss, span, hours):
    edge = timezone.now() - timedelta(hours=hours)
    inside = make_job(created_at=edge + timedelta(minutes=1))
    make_job(created_at=edge - timedelta(minutes=1))
    assert listed(boss, f"?created={span}") == [inside]


def test_filter_mine(staff, alice):
    client = staff()
    make_job(owner=alice)
    make_job()
    mine = [make_job(owner_id=client.session["_auth_user_id"], anonymous=False) for _ in range(3)]
    assert listed(client, "?mine=1") == mine[::-1]


def test_nonsense_filters_nothing(boss):
    job = make_job()
    for query in ("?state=%00", "?operation=%00", "?created=x", "?attention=x", "?q=%00", "?mine=x"):
        assert listed(boss, query) == [job], query
    assert boss.get(f"{LIST}?mine=x").context["cl"].queryset.query.order_by[0] == "-created_at"


def test_stored_data_cannot_be_probed_by_the_url(staff):
    make_job(input={"password": "s3cret"})
    client = staff()
    for lookup in ("input__contains", "owner__password__startswith", "log__icontains", "problem"):
        assert client.get(f"{LIST}?{lookup}=s3").status_code == 400, lookup


# --- The operations that are offered ----------


def offered(client: Client, query: str = "") -> list[str]:
    """Return the operations that the filter offers."""
    specs = client.get(LIST + query).context["cl"].filter_specs
    ours = (spec for spec in specs if spec.title == filters.OperationFilter.title)
    return [name for spec in ours for name, _ in spec.lookup_choices]


def test_the_filter_offers_the_operations_that_jobs_have(boss):
    assert offered(boss) == []
    for name in ("c", "a", "b", "a"):
        make_job(operation=name)
    assert offered(boss) == ["a", "b", "c"]


def test_a_new_operation_is_offered_and_found_at_once(boss):
    make_job(operation="orders.create")
    assert offered(boss) == ["orders.create"]
    new = make_job(operation="orders.bulk")
    assert offered(boss) == ["orders.bulk", "orders.create"]
    assert listed(boss, "?q=orders.bulk") == [new]
    assert listed(boss, "?q=op:orders.b") == [new]


def test_the_filter_offers_a_hundred_operations_and_a_search_knows_all(boss, monkeypatch):
    monkeypatch.setattr(filters, "MOST_OPERATIONS", 2)
    jobs = [make_job(operation=f"op{n}") for n in range(4)]
    assert offered(boss) == ["op0", "op1"]
    assert offered(boss, "?operation=op3") == ["op0", "op1", "op3"]
    for query in ("?q=op3", "?q=op:op3", "?operation=op3"):
        assert listed(boss, query) == [jobs[3]]


def test_the_names_of_operations_are_bounded(boss, monkeypatch):
    monkeypatch.setattr(filters, "MOST_NAMES", 2)
    for name in ("a", "b", "c"):
        make_job(operation=name)
    assert offered(boss) == ["a", "b"]


# --- Search ----------


def test_search_finds_a_job_by_its_id_with_and_without_dashes(boss):
    """By the primary key, not by comparing texts."""
    job = make_job()
    make_job()
    for text in (job.pk, job.pk.hex):
        with CaptureQueriesContext(connection) as captured:
            assert listed(boss, f"?q={text}") == [job]
        assert not any("UPPER" in q["sql"].upper() or "LIKE" in q["sql"].upper() for q in captured)


def test_search_by_owner_operation_and_key(boss, alice):
    mine = make_job(owner=alice, operation="orders.create")
    keyed = make_job(operation="orders.bulk", idempotency_key="k" * 64)
    other = make_job(operation="reports.create")

    assert listed(boss, "?q=owner:alice") == [mine]
    assert listed(boss, "?q=alice") == [mine]
    assert set(listed(boss, "?q=op:orders")) == {mine, keyed}
    assert listed(boss, "?q=op:reports") == [other]
    assert listed(boss, "?q=orders.bulk") == [keyed]
    assert listed(boss, f"?q=key:{'k' * 64}") == [keyed]
    assert listed(boss, "?q=owner:alice+op:orders") == [mine]
    assert listed(boss, "?q=owner:alice+op:reports") == []
    assert listed(boss, "?q=nobody") == []


@pytest.mark.parametrize(("name", "count"), [("7", 1), ("8", 0), ("alice", 0), ("9" * 30, 0)])
def test_the_name_of_an_owner_may_be_a_number(boss, django_user_model, monkeypatch, name, count):
    make_job(owner=django_user_model.objects.create_user("alice", pk=7))
    monkeypatch.setattr(django_user_model, "USERNAME_FIELD", "id")
    monkeypatch.setattr(django_user_model, "__str__", lambda user: str(user.pk))
    for query in (f"?q={name}", f"?q=owner:{name}"):
        assert len(listed(boss, query)) == count


def test_a_search_that_finds_nothing_says_how_to_search(boss):
    make_job()
    assert "Give an id, an operation or a name in full" in page(boss, f"{LIST}?q=nobody")
    assert "Give an id" not in page(boss)


def test_an_owners_jobs_are_read_in_the_order_of_their_index(boss, alice):
    """However the owner is searched for; a list that is sorted otherwise stays so."""
    orders = {"?q=alice": "id", "?q=owner:alice": "id", "?mine=1": "id", "?q=alice&o=5": "created_at"}
    for query, order in orders.items():
        sql = str(boss.get(LIST + query).context["cl"].queryset.query)
        assert "(SELECT U0." in sql.replace('"', "").replace("`", "")
        ordering = boss.get(LIST + query).context["cl"].queryset.query.order_by[0]
        assert ordering.lstrip("-") == order
