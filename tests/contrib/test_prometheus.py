"""Metrics: what happened is counted once and after the commit, what is now is asked of the table."""

import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import OperationalError, transaction
from django.utils import timezone

from async_accept.contrib.prometheus import exposition, names, table
from async_accept.jobs.accept import accept
from async_accept.models import Job
from async_accept.problems import problem
from async_accept.testing import make_job
from async_accept.webhooks.models import Delivery, Endpoint
from async_accept.webhooks.signals import delivery_attempted
from tests.testapp.tasks import add

from .metrics import OURS, exposed, new

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_fresh_figures")]


# --- What happened ------------------------------------------------------------------------------------------------


def test_a_job_is_counted_from_its_acceptance_to_its_end(counted):
    job = new()
    assert counted(lambda: accept(job)) == {("jobs_accepted_total", "orders.create"): 1}
    assert counted(job.claim) == {("wait_seconds_count", "orders.create"): 1}
    assert counted(job.succeed) == {
        ("jobs_ended_total", "orders.create", "succeeded"): 1,
        ("run_seconds_count", "orders.create"): 1,
    }


def test_times_are_those_of_the_row(counted):
    before = exposed()
    job = make_job(operation="timed", created_at=timezone.now() - timedelta(seconds=20))
    counted(job.claim)
    Job.objects.filter(pk=job.pk).update(started_at=timezone.now() - timedelta(seconds=400))
    job.refresh_from_db()
    counted(job.succeed)
    after = exposed()
    assert after["wait_seconds_sum", "timed"] - before.get(("wait_seconds_sum", "timed"), 0) == pytest.approx(
        20, abs=2
    )
    assert after["run_seconds_sum", "timed"] - before.get(("run_seconds_sum", "timed"), 0) == pytest.approx(
        400, abs=2
    )


def test_retries_and_lost_attempts_are_told_apart(counted):
    job = make_job(operation="o", retry_when_lost=True, max_attempts=9)
    counted(job.claim)
    assert counted(lambda: job.give_back(timedelta(), "retry", retries=1)) == {("retries_total", "o"): 1}
    assert counted(job.claim) == {}  # it has waited before
    assert counted(lambda: job.lose("lease")) == {("attempts_lost_total", "o"): 1}


def test_a_job_that_fails_as_lost_is_both(counted):
    found = counted(lambda: make_job(operation="o", state="running").lose("lease"))
    assert (found["attempts_lost_total", "o"], found["jobs_ended_total", "o", "failed"]) == (1, 1)


def test_a_job_that_was_canceled_while_it_waited_had_no_run(counted):
    job = make_job(operation="o", state="running")
    job.give_back(timedelta(), "retry")
    assert counted(job.cancel) == {("jobs_ended_total", "o", "canceled"): 1}


def test_what_is_rolled_back_is_not_counted(counted):
    def refuse():
        with transaction.atomic():
            accept(new())
            transaction.set_rollback(True)

    assert counted(refuse) == {}


def test_counts_of_an_operation_begin_at_zero(counted):
    """Else Prometheus would not see the first failure, which would be where its series begins."""
    counted(lambda: accept(new("fresh")))
    found = exposed()
    for state in ("succeeded", "failed", "canceled"):
        assert found["jobs_ended_total", "fresh", state] == 0
    assert found["attempts_lost_total", "fresh"] == found["wait_seconds_count", "fresh"] == 0


def test_a_delivery_is_counted_by_its_outcome(counted):
    found = counted(lambda: delivery_attempted.send(sender=Delivery, delivery=None, outcome="5xx"))
    assert found == {("delivery_attempts_total", "5xx"): 1}


def test_counting_costs_no_statement(django_assert_num_queries, django_capture_on_commit_callbacks):
    job = Job.objects.defer("request", "input", "history", "log").get(pk=make_job(state="running").pk)
    with django_assert_num_queries(1), django_capture_on_commit_callbacks(execute=True):
        job.fail(problem("lost"))


def test_operations_are_bounded():
    operations = names.Operations()
    labels = [operations.label(f"o{number}") for number in range(names.MOST + 5)]
    assert Counter(labels)["other"] == 5
    assert operations.label("o3") == "o3"


# --- What is now --------------------------------------------------------------------------------------------------


def now():
    """Return what the table says, without what was counted."""
    return {key: value for key, value in exposed(with_table=True).items() if key[0] in GAUGES}


GAUGES = {
    *("jobs", "oldest_waiting_seconds", "jobs_stalled", "relay_lag_seconds", "heartbeat_lag_seconds"),
    *("deliveries", "delivery_lag_seconds"),
}


def test_active_jobs_are_counted_by_operation_and_state():
    for state in ("accepted", "accepted", "running", "canceling", "succeeded"):
        make_job(add, operation="orders.create", state=state)
    make_job(add, operation="orders.cancel")
    found = now()
    for state, number in (("accepted", 2), ("running", 1), ("canceling", 1)):
        assert found["jobs", "orders.create", state] == number
    assert (found["jobs", "orders.cancel", "accepted"], found["jobs", "orders.cancel", "running"]) == (1, 0)


def test_lags_are_those_of_the_latest():
    make_job(add, operation="o", created_at=timezone.now() - timedelta(seconds=500))
    make_job(add, operation="o", dispatch_at=timezone.now() - timedelta(seconds=90))
    make_job(add, operation="o", state="running", lease_until=timezone.now() - timedelta(seconds=10))
    found = now()
    assert found["oldest_waiting_seconds", "o"] == pytest.approx(500, abs=5)
    assert found["relay_lag_seconds",] == pytest.approx(90, abs=5)
    assert found["heartbeat_lag_seconds",] == pytest.approx(25, abs=5)  # with LEASE
    assert found["jobs_stalled",] == 1


def test_a_job_that_waits_for_a_retry_is_not_the_oldest():
    make_job(add, operation="o", created_at=timezone.now() - timedelta(hours=1), attempt=1)
    assert now()["oldest_waiting_seconds", "o"] == 0


def test_all_is_zero_without_jobs():
    found = now()
    assert set(found.values()) == {0}
    assert {key[0] for key in found} == GAUGES


def test_what_was_counted_has_a_zero_if_no_job_is_active(counted):
    counted(lambda: accept(new("seldom")))
    Job.objects.all().delete()
    assert now()["jobs", "seldom", "accepted"] == 0


def test_deliveries_are_counted_by_state():
    endpoint = Endpoint.objects.create()
    columns = {"endpoint": endpoint, "host": "h", "event": "ping"}
    Delivery.objects.create(**columns, publish_at=timezone.now() - timedelta(seconds=30))
    Delivery.objects.create(**columns, state="held")
    Delivery.objects.create(**columns, state="delivered")
    found = now()
    assert [found["deliveries", state] for state in ("waiting", "sending", "held")] == [1, 0, 1]
    assert found["delivery_lag_seconds",] == pytest.approx(30, abs=5)


def test_the_database_is_asked_twice_and_then_not_again_for_a_while(django_assert_num_queries):
    """Once for jobs, and once for deliveries."""
    make_job(add)
    with django_assert_num_queries(2):
        first = now()
        assert now() == first


def test_counting_stops_somewhere_with_the_oldest(monkeypatch):
    monkeypatch.setattr(table, "MOST", 3)
    for minutes in range(6):
        make_job(add, operation=f"o{minutes}", created_at=timezone.now() - timedelta(minutes=minutes))
    found = now()
    assert [found.get(("jobs", f"o{minutes}", "accepted")) for minutes in range(6)] == [None] * 3 + [1] * 3


def test_operations_of_the_table_are_bounded(monkeypatch):
    monkeypatch.setattr(names, "MOST", 2)
    monkeypatch.setattr(exposition, "_counted", list)
    for number in range(5):
        make_job(add, operation=f"o{number}")
    found = now()
    assert {key[1] for key in found if key[0] == "jobs"} == {"o0", "o1", "other"}
    assert found["jobs", "other", "accepted"] == 3


def test_a_database_that_is_away_costs_the_gauges_only(monkeypatch, caplog, counted):
    def away(now):
        raise OperationalError("hunter2")

    counted(lambda: accept(new()))
    monkeypatch.setattr(table, "_ask_jobs", away)
    monkeypatch.setattr(table, "_said", table.Once())
    found, _ = exposed(with_table=True), exposed(with_table=True)
    assert found["jobs_accepted_total", "orders.create"] >= 1
    assert ("jobs_stalled",) not in found
    assert caplog.text.count("OperationalError") == 1
    assert "hunter2" not in caplog.text


def test_a_cache_that_is_away_costs_nothing(monkeypatch):
    def away(*args):
        raise ConnectionError

    monkeypatch.setattr(table, "cache", SimpleNamespace(get=away, set=away))
    assert now()["jobs_stalled",] == 0


# --- The files of the docs ----------------------------------------------------------------------------------------

DOCS = Path(__file__).resolve().parents[2] / "docs"


def told(text):
    """Return the metrics that a text names, without the suffixes of histograms."""
    return {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for name in re.findall(r"\basync_accept_(?!webhooks)\w+", text)
    }


@pytest.fixture
def exposed_names(counted):
    counted(lambda: delivery_attempted.send(sender=Delivery, delivery=None, outcome="2xx"))
    counted(make_job().claim)
    return {re.sub(r"_(bucket|sum|count)$", "", OURS + key[0]) for key in exposed(with_table=True)}


@pytest.mark.parametrize("name", ["dashboard.json", "alerts.yml", "alerts.test.yml"])
def test_alerts_and_dashboard_ask_for_what_there_is(name, exposed_names):
    asked = told((DOCS / "monitoring" / name).read_text())
    assert asked
    assert asked <= exposed_names


def test_each_metric_is_documented(exposed_names):
    assert exposed_names <= told((DOCS / "howto" / "monitoring.rst").read_text())
