"""The dashboard: figures of an indexed window, drawn by the server."""

import re
from datetime import UTC, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from async_accept.admin import statistics
from async_accept.admin.charts import hourly_chart, nice_top
from async_accept.admin.statistics import collect
from async_accept.db.functions import from_now
from async_accept.models import Job
from async_accept.states import State
from async_accept.testing import make_job
from tests.admin.conftest import page

pytestmark = pytest.mark.django_db

URL = "/admin/async_accept/job/dashboard/"


def ended(
    state: str = "succeeded",
    wait: float = 1,
    run: float = 2,
    ago: timedelta = timedelta(minutes=5),
    **columns,
) -> Job:
    created_at = timezone.now() - ago
    started_at = created_at + timedelta(seconds=wait)
    return make_job(
        state=state,
        result=1,
        created_at=created_at,
        started_at=started_at,
        finished_at=started_at + timedelta(seconds=run),
        **columns,
    )


def test_counts():
    for state in State:
        make_job(state=state, result=1)
    found = collect(timezone.now())
    assert (found["waiting"], found["running"], found["failed"]) == (1, 2, 1)


def test_counts_are_bounded(boss, monkeypatch):
    monkeypatch.setattr(statistics, "COUNT_CAP", 2)
    monkeypatch.setattr("async_accept.admin.dashboard.COUNT_CAP", 2)
    for _ in range(4):
        make_job()
    assert collect(timezone.now())["waiting"] == 3
    assert ">2+<" in page(boss, URL)


def test_failures_count_by_when_they_happened():
    ended("failed", ago=timedelta(hours=30), run=25)
    ended("failed", ago=timedelta(hours=30), run=7 * 3600)
    assert collect(timezone.now())["failed"] == 1


def test_what_fails_most_comes_first():
    for name in ("a", "b", "b", "c", "b", "c"):
        make_job(state="failed", operation=name)
    failing = collect(timezone.now())["failing"]
    assert [(row["operation"], row["count"]) for row in failing] == [("b", 3), ("c", 2), ("a", 1)]


def test_percentiles_of_waiting_and_running():
    for n in range(1, 101):
        ended(wait=n, run=n / 10, ago=timedelta(hours=1))
    found = collect(timezone.now())
    assert found["sample"] == 100
    assert [round(found[k].total_seconds(), 1) for k in ("wait_p50", "wait_p95", "run_p50", "run_p95")] == [
        51,
        96,
        5.1,
        9.6,
    ]


def test_a_retried_job_says_nothing_about_waiting():
    ended(attempt=2)
    found = collect(timezone.now())
    assert found["wait_p50"] is None
    assert found["run_p50"] == timedelta(seconds=2)


def test_hours_tell_the_states_of_the_jobs_accepted_in_them():
    now = timezone.now()
    this = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    make_job(created_at=this)
    make_job(created_at=this - timedelta(hours=23), state="failed")
    make_job(created_at=this - timedelta(hours=23, minutes=1), state="failed")
    hours = collect(now)["hours"]
    assert len(hours) == 24
    assert (hours[-1]["hour"], hours[-1]["counts"]["accepted"]) == (this, 1)
    assert hours[0]["counts"]["failed"] == 1
    assert sum(sum(hour["counts"].values()) for hour in hours) == 2


def test_the_longest_waiting_job_is_named():
    old = make_job(created_at=timezone.now() - timedelta(seconds=30))
    make_job()
    make_job(created_at=timezone.now() - timedelta(days=1), attempt=1)  # waits for its retry
    assert collect(timezone.now())["oldest"] == old.pk


@pytest.mark.parametrize("starving", [True, False])
@pytest.mark.parametrize(("who", "permissions"), [("boss", 0), ("staff", 2)])
def test_it_costs_six_statements_and_two_for_the_next_fifteen_seconds(request, starving, who, permissions):
    """And two more for those whose permissions have to be read."""
    client = request.getfixturevalue(who)
    client = client() if who == "staff" else client
    make_job(created_at=timezone.now() - statistics.QUIET * 2)
    if not starving:
        make_job(state="running")
    with CaptureQueriesContext(connection) as first:
        html = page(client, URL)
    with CaptureQueriesContext(connection) as second:
        client.get(URL)
    assert ("No worker is seen" in html) == starving
    assert len(first) == 6 + permissions  # session, user, open jobs, failing, hours, sample
    assert len(second) == 2 + permissions


# --- Where the figures lead --------------------------------------------------------------------------------


@pytest.fixture
def mixture():
    """Jobs of all kinds, and what must not be mistaken for them."""
    day = timedelta(hours=24)
    for n, state in enumerate(State):
        for _ in range(n + 1):
            make_job(state=state, result=1, operation=f"of.{state}")
    ended("failed", ago=day * 1.5, run=day.total_seconds(), operation="late")
    ended("failed", ago=day * 1.5, operation="long.ago")
    make_job(created_at=timezone.now() - timedelta(seconds=30), operation="oldest")
    deleted = make_job(state="running", operation="of.running")
    Job.objects.filter(pk=deleted.pk).update(forgotten=True)  # by its owner; it runs all the same


def leads_to(boss, url: str) -> int:
    return boss.get(url).context["cl"].result_count


def test_each_count_leads_to_exactly_its_jobs(boss, mixture):
    cards = {card["label"]: card for card in boss.get(URL).context["cards"]}
    for label, count in (("Waiting", 2), ("Running", 6), ("Failed in 24 hours", 6)):
        assert cards[label]["value"] == str(count)
        assert leads_to(boss, cards[label]["url"]) == count, label


def test_the_longest_waiting_leads_to_that_job(boss, mixture):
    (card,) = (card for card in boss.get(URL).context["cards"] if card["label"] == "Longest waiting")
    assert boss.get(card["url"]).context["job"].operation == "oldest"


def test_what_is_nothing_leads_nowhere(boss):
    html = page(boss, URL)
    assert '<div class="aa-card"><span class="aa-card-label">Longest waiting</span>' in html


def test_what_fails_most_leads_to_exactly_its_jobs(boss, mixture):
    rows = boss.get(URL).context["failing"]
    assert {row["operation"]: row["count"] for row in rows} == {"of.failed": 5, "late": 1}
    for row in rows:
        assert leads_to(boss, row["url"]) == row["count"]


def test_jobs_that_their_owners_deleted_are_in_every_figure():
    """They use a worker, so that "Running 0" must be true."""
    for state in State:
        make_job(state=state, result=1)
    waiting = Job.objects.get(state="accepted")
    Job.objects.update(forgotten=True)
    found = collect(timezone.now())
    assert (found["waiting"], found["running"], found["failed"], found["oldest"]) == (1, 2, 1, waiting.pk)
    assert found["sample"] == 1
    assert sum(sum(hour["counts"].values()) for hour in found["hours"]) == len(State)


# --- Whether anybody works -----------------------------------------------------------------------------------


def test_it_says_when_nobody_works(boss):
    make_job(created_at=timezone.now() - statistics.QUIET * 2)
    assert "No worker is seen" in page(boss, URL)


@pytest.mark.parametrize("state", ["running", "canceling", "succeeded", "failed"])
def test_a_worker_that_has_a_job_or_just_ended_one_is_seen(boss, state):
    make_job(created_at=timezone.now() - statistics.QUIET * 2)
    make_job(state=state, result=1)
    assert "No worker is seen" not in page(boss, URL)


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_a_worker_that_ended_its_last_job_long_ago_is_not_seen(boss, state):
    make_job(created_at=timezone.now() - statistics.QUIET * 2)
    ended(state, ago=statistics.QUIET * 2)
    assert "No worker is seen" in page(boss, URL)


def test_a_lease_that_ran_out_is_no_sign_of_life(boss):
    make_job(created_at=timezone.now() - statistics.QUIET * 2)
    make_job(state="running", lease_until=from_now(timedelta(seconds=-5)))
    assert "No worker is seen" in page(boss, URL)


def test_a_job_that_waits_for_its_next_attempt_raises_no_alarm(boss):
    make_job(created_at=timezone.now() - statistics.QUIET * 2, attempt=1)
    assert "No worker is seen" not in page(boss, URL)


# --- How it is drawn -----------------------------------------------------------------------------------------


def test_the_chart_is_drawn_with_title_description_and_table(boss):
    make_job()
    ended("failed")
    html = page(boss, URL)
    assert re.search(r'<svg[^>]*role="img"[^>]*aria-labelledby="aa-chart-title aa-chart-desc"', html)
    assert '<title id="aa-chart-title">' in html
    assert '<desc id="aa-chart-desc">2 jobs in all.' in html
    assert html.count("<rect ") == len(re.findall(r"<rect [^>]*/>", html)) >= 1
    assert html.count('<th scope="row">') >= 24


def test_an_empty_dashboard_is_drawn(boss):
    html = page(boss, URL)
    assert "Nothing failed." in html
    assert "<rect" not in html


def test_operations_are_escaped(boss):
    make_job(state="failed", operation="<script>alert(1)</script>&x=1")
    html = page(boss, URL)
    assert "<script>alert" not in html
    assert "operation=%3Cscript%3Ealert%281%29%3C%2Fscript%3E%26x%3D1" in html


@pytest.mark.parametrize(
    ("largest", "top"),
    [(0, 4), (4, 4), (5, 6), (7, 8), (9, 10), (11, 20), (21, 30), (41, 60), (999, 1000), (1000, 1000)],
)
def test_the_axis_ends_at_a_round_number(largest, top):
    assert nice_top(largest) == top


def test_bars_stay_within_the_drawing():
    hours = [{"hour": timezone.now(), "counts": {str(s): 7 for s in State}}]
    chart = hourly_chart(hours)
    (bar,) = chart["bars"]
    for piece in bar.pieces:
        assert float(piece.y) >= 0
        assert float(piece.y) + float(piece.height) <= chart["height"] + 0.1
        assert float(piece.x) + float(piece.width) <= chart["width"]


def test_the_svg_keeps_its_decimal_points_in_every_language(boss):
    make_job()
    with translation.override("de"):
        html = boss.get(URL, headers={"accept-language": "de"}).content.decode()
    assert not re.search(r'(x|y|width|height|x1|y1)="\d+,\d', html)
