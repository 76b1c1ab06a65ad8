"""The list of jobs in the admin: what it shows, and what it costs."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from async_accept.admin import changelist, statistics
from async_accept.admin.cells import soft
from async_accept.models import Job
from async_accept.states import State
from async_accept.testing import make_job
from tests.admin.conftest import LIST, XSS, change, listed, page, statements
from tests.testapp.models import Shelf

pytestmark = pytest.mark.django_db


# --- Who sees what ----------


def test_nobody_adds_or_edits(boss):
    job = make_job()
    assert boss.get(f"{LIST}add/").status_code == 403
    boss.post(change(job), {"state": "failed", "operation": "x"})
    job.refresh_from_db()
    assert job.state == State.ACCEPTED


def test_an_unknown_or_malformed_id_leads_back(boss, staff):
    """Staff who may not view jobs do not even learn that."""
    for pk in (uuid4(), "nonsense"):
        assert boss.get(f"{LIST}{pk}/change/").status_code == 302
        assert staff(may_view=False).get(f"{LIST}{pk}/change/").status_code == 403


def test_a_job_that_its_owner_deleted_is_shown_as_such(boss):
    """It uses a worker until it has ended."""
    job, other = make_job(state="running"), make_job(state="running")
    Job.objects.filter(pk=job.pk).update(forgotten=True)
    assert set(listed(boss)) == set(listed(boss, "?state=active")) == {job, other}
    mark = "deleted by its owner"
    assert page(boss, LIST).count(mark) == 1
    html = page(boss, change(job))
    assert mark in html
    assert f"/api/jobs/{job.pk}/" not in html  # there it is 404
    parts = json.loads(page(boss, f"{LIST}live/?ids={job.pk},{other.pk}"))["jobs"]
    assert {pk: mark in each["parts"]["state"] for pk, each in parts.items()} == {
        job.pk.hex: True,
        other.pk.hex: False,
    }


def test_only_what_has_ended_can_be_deleted(staff):
    client = staff("delete_job")
    running, ended = make_job(state="running"), make_job(state="succeeded", result=1)

    assert client.post(f"{LIST}{running.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"{LIST}{ended.pk}/delete/", {"post": "yes"}).status_code == 302

    assert list(Job.objects.all()) == [running]


# --- What it shows ----------


def test_the_columns_have_their_order(boss):
    make_job()
    columns = boss.get(LIST).context["cl"].list_display
    assert columns == [
        "action_checkbox",
        "state_column",
        "operation_column",
        "owner_column",
        "object_column",
        "created_column",
        "duration_column",
        "attempts_column",
    ]


def test_worker_and_queue_show_on_demand(boss):
    make_job(state="running", worker="celery@box", queue="fast")
    assert "celery@" not in page(boss)
    html = page(boss, f"{LIST}?columns=all&state=running")
    assert "<bdi>celery@<wbr>box</bdi>" in html
    assert "fast" in html
    assert 'href="?state=running"' in html  # hides them again


def test_columns_are_no_filter(boss):
    make_job()
    assert "Clear all filters" not in page(boss, f"{LIST}?columns=all")
    assert 'href="?columns=all"' in page(boss, f"{LIST}?columns=all&state=accepted"), "it leaves them alone"


def test_every_state_shows_its_word(boss):
    for state in State:
        make_job(state=state, result=1)
    html = page(boss)
    for state in State:
        assert f"</span>{state.label}</span>" in html


def test_a_running_job_shows_its_bar_and_the_time_left(boss):
    job = make_job(
        state="running",
        started_at=timezone.now() - timedelta(seconds=17),
        progress={"current": 30, "total": 100, "unit": "", "message": "", "percent": 30.0, "stage": ""},
    )
    html = page(boss)
    assert '<progress max="100" value="30.0"' in html
    assert "30/<wbr>100, about 40\u00a0s" in html
    assert f'data-aa-job="{job.pk.hex}"' in html


def test_owner_and_object_show_without_further_queries(boss, alice):
    shelf = Shelf.objects.create(name="tea")
    kind = ContentType.objects.get_for_model(Shelf)
    make_job(owner=alice, object_type=kind, object_id=str(shelf.pk))
    html = page(boss)
    assert ">alice<" in html
    assert f"shelf <wbr>{shelf.pk}" in html


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("orders.create", "orders.<wbr>create"),
        ("alice@shop.example", "alice@<wbr>shop.<wbr>example"),
        ("x" * 16, "x" * 16),
        ("x" * 25, f"{'x' * 10}<wbr>{'x' * 10}<wbr>{'x' * 5}"),
        ("", ""),
        ("<b>&.c", "&lt;b&gt;&amp;.<wbr>c"),
    ],
)
def test_a_narrow_column_may_break_a_long_name(name, shown):
    assert soft(name) == f"<bdi>{shown}</bdi>"


def test_created_is_relative_with_the_exact_time_in_the_title(boss):
    created_at = timezone.now() - timedelta(minutes=5, seconds=3)
    make_job(created_at=created_at)
    html = page(boss)
    assert "5\u00a0min ago</time>" in html
    exact = timezone.localtime(created_at).isoformat(sep=" ", timespec="seconds")
    assert f'title="{exact}"' in html


def test_newest_first_whatever_the_ids_say(boss, alice):
    """The ids of anonymous jobs are random."""
    now = timezone.now()
    jobs = [make_job(owner=[None, alice][n % 2], created_at=now - timedelta(minutes=n)) for n in range(12)]
    assert listed(boss) == jobs


def test_only_the_time_can_be_sorted_by(boss):
    assert boss.get(LIST).context["cl"].sortable_by == ("created_column",)


def test_facets_never(boss):
    make_job()
    assert "_facets" not in page(boss)


def test_an_empty_list_says_why(boss):
    assert "There are no jobs yet." in page(boss)
    make_job(state="running")
    assert "No job passes these filters." in page(boss, f"{LIST}?state=failed")
    assert '<p class="aa-nothing">' not in page(boss)


# --- Pages ----------


def test_a_page_that_is_not_there_any_more_gives_way_to_the_first(boss):
    """As after the jobs of the last page were purged; the filters stay."""
    job = make_job(operation="a")
    make_job(operation="b")
    for number in ("2", "0", "-1", "999999", "x"):
        assert listed(boss, f"?operation=a&p={number}") == [job]


def test_pages_follow_each_other(boss):
    jobs = [make_job(created_at=timezone.now() - timedelta(minutes=n)) for n in range(120)]
    assert listed(boss) == jobs[:50]
    assert listed(boss, "?p=3") == jobs[100:]
    assert boss.get(f"{LIST}?p=3").context["cl"].page_num == 3


@pytest.mark.parametrize(("count", "shown"), [(100, 100), (101, 50)])
def test_all_are_shown_if_they_are_a_hundred_at_most(boss, count, shown):
    jobs = [Job(operation="a", task="t", dispatch_at=timezone.now()) for _ in range(count)]
    Job.objects.bulk_create(jobs)
    assert len(listed(boss, "?all=")) == shown


def test_counting_stops_at_the_cap(boss, monkeypatch):
    monkeypatch.setattr(changelist.CappedPaginator, "cap", 10)
    for _ in range(10):
        make_job()
    assert "10 jobs" in page(boss)
    make_job()
    html = page(boss)
    assert "10+ jobs" in html
    assert boss.get(LIST).context["cl"].paginator.count == 10


def test_the_count_is_bounded_in_the_database(boss):
    make_job()
    with CaptureQueriesContext(connection) as captured:
        page(boss)
    counts = [q["sql"] for q in captured if "COUNT(" in q["sql"].upper()]
    assert len(counts) == 1
    assert f"LIMIT {changelist.CAP + 1}) counted" in counts[0]


# --- What it costs ----------


QUERIES = [
    "",
    *(f"?state={state}" for state in (*State.values, "active", "leased", "ended")),
    *(f"?attention={kind}" for kind in ("any", "waiting", "lost", "failed")),
    *(f"?created={span}" for span in ("1h", "24h", "7d")),
    "?operation=add0",
    "?operation=add0&state=failed",
    "?mine=1",
    "?q=owner:alice",
    "?q=op:ad",
    "?q=add0",
    "?q=alice",
    "?q=nobody",
    f"?q=key:{'k' * 64}",
    "?q=0197e3f2-0000-7000-8000-000000000000",
    "?columns=all",
    "?o=5",
    "?p=2",
    "?all=",
]


@pytest.fixture
def neglected(alice):
    """Fill two pages with what costs most: jobs about objects, and one that waits while no worker is seen."""
    kinds = [ContentType.objects.get_for_model(model) for model in (Shelf, Permission, ContentType)]
    old = timezone.now() - statistics.QUIET * 3
    jobs = [
        make_job(
            operation=f"add{n % 3}",
            owner=alice,
            created_at=old,
            state="accepted" if n % 2 else "canceled",
            object_type=kinds[n % 3],
            object_id="1",
        )
        for n in range(70)
    ]
    ContentType.objects.clear_cache()
    return jobs[-1]


@pytest.mark.parametrize(("who", "most"), [("boss", 4), ("staff", 6)])
def test_a_list_costs_four_statements_and_staff_two_for_their_permissions(
    request, neglected, cold_caches, who, most
):
    """Session, user, operations, page with its count and its alarm; however cold the caches are."""
    client = request.getfixturevalue(who)
    client = client() if who == "staff" else client
    for query in QUERIES:
        cold_caches()
        assert statements(client, LIST + query) <= most, query


def test_the_list_says_that_a_job_starves_without_a_further_statement(staff, neglected):
    client = staff()
    with CaptureQueriesContext(connection) as captured:
        html = page(client)
    assert "No worker is seen" in html
    assert len(captured) == 6


def test_the_list_reads_no_large_column(boss):
    make_job(state="failed", input={"a": 1})
    with CaptureQueriesContext(connection) as captured:
        page(boss)
    rows = next(q["sql"] for q in captured if '"progress"' in q["sql"] or "`progress`" in q["sql"])
    for name in ("input", "request", "history", "log", "response", "problem"):
        assert f'job"."{name}",' not in rows.replace("`", '"')


# --- Rows that somebody has changed by hand ----------


def damage(job: Job, column: str, text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE async_accept_job SET {column} = %s WHERE operation = %s",
            [text, job.operation],
        )


@pytest.mark.parametrize("column", ["progress", "uploads", "message_options", "input", "problem", "history"])
@pytest.mark.parametrize("text", ["{bad", '"text"', '["a"]', '{"percent": "x", "current": "y", "total": []}'])
def test_a_damaged_row_is_shown_and_spoils_no_other(boss, column, text):
    job = make_job(operation="damaged", state="running")
    other = make_job(state="running", progress={"current": 3, "total": 9, "percent": 33.3})
    damage(job, column, text)
    html = page(boss)
    assert "damaged" in html
    assert "3/<wbr>9" in html
    live = boss.get(f"{LIST}live/?ids={job.pk},{other.pk}").json()["jobs"]
    assert live.keys() == {job.pk.hex, other.pk.hex}


@pytest.mark.parametrize("column", ["progress", "uploads", "input", "request", "response", "problem"])
def test_staff_look_at_a_damaged_row_and_purge_it(boss, column):
    job = make_job(operation="damaged", state="failed")
    damage(job, column, "{bad")
    assert "damaged" in page(boss, job)
    assert boss.get(f"{LIST}{job.pk}/live/").status_code == 200
    boss.post(f"{LIST}{job.pk}/purge/", {"confirmed": "yes"})
    assert not Job.objects.exists()


# --- A warning if nobody works ----------


def test_a_job_that_waits_while_no_worker_is_seen_says_so(boss):
    job = make_job(created_at=timezone.now() - statistics.QUIET * 3)
    assert "No worker is seen" in page(boss)
    assert "No worker is seen" in page(boss, job)


def test_no_alarm_while_a_worker_is_seen(boss):
    make_job(created_at=timezone.now() - statistics.QUIET * 3)
    make_job(state="running")
    assert "No worker is seen" not in page(boss)


def test_no_alarm_for_a_young_job(boss):
    make_job()
    assert "No worker is seen" not in page(boss)


# --- Safe and translated ----------


def test_stored_markup_is_shown_harmlessly_in_the_list_and_live(boss, django_user_model):
    owner = django_user_model.objects.create_user(username=XSS[:100])
    job = make_job(
        operation=XSS[:100],
        owner=owner,
        state="running",
        worker=XSS,
        queue=XSS,
        progress={"current": 1, "total": 2, "unit": XSS, "message": XSS, "percent": 50.0, "stage": XSS},
    )
    html = page(boss, f"{LIST}?columns=all")
    live = boss.get(f"{LIST}live/?ids={job.pk}").json()["jobs"][job.pk.hex]["parts"]["state"]
    for text in (html, live):
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    assert "&lt;script&gt;alert" in html


def test_no_inline_script_style_or_handler(boss):
    job = make_job(state="running", progress={"current": 1, "total": 2, "percent": 50.0})
    for url in (LIST, change(job), f"{LIST}dashboard/", f"{LIST}{job.pk}/cancel/"):
        html = page(boss, url)
        for own in ("aa-", "async_accept/"):
            assert own in html
        assert " style=" not in html
        assert "<style" not in html
        assert " onclick=" not in html
        assert "<script>" not in html


def test_the_app_index_leads_to_the_dashboard(boss, staff):
    assert reverse("admin:async_accept_job_dashboard") in page(boss, "/admin/async_accept/")


def test_pages_work_in_a_language_written_from_right_to_left(boss, settings):
    job = make_job(state="running")
    settings.LANGUAGE_CODE = "ar"
    with translation.override("ar"):
        for url in (LIST, change(job), f"{LIST}dashboard/"):
            assert 'dir="rtl"' in boss.get(url, headers={"accept-language": "ar"}).content.decode()
