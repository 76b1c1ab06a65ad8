"""The admin of jobs: who sees what, what a list costs, and what is found."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from async_accept.admin import changelist, filters, statistics
from async_accept.admin.cells import soft
from async_accept.db.functions import from_now
from async_accept.models import Job
from async_accept.states import State
from async_accept.testing import make_job
from tests.testapp.models import Shelf

pytestmark = pytest.mark.django_db

LIST = "/admin/async_accept/job/"
XSS = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture(autouse=True)
def _fresh_cache():
    cache.clear()
    ContentType.objects.clear_cache()


@pytest.fixture
def staff(django_user_model):
    """Make a client of a staff user with the given permissions."""

    def make(*codenames: str, username: str = "staff") -> Client:
        user = django_user_model.objects.create_user(username, is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def alice(django_user_model):
    return django_user_model.objects.create_user("alice")


def page(client: Client, url: str = LIST) -> str:
    response = client.get(url)
    assert response.status_code == 200, response
    return response.content.decode()


def listed(client: Client, query: str = "") -> list[Job]:
    response = client.get(LIST + query)
    assert response.status_code == 200, response
    return list(response.context["cl"].result_list)


def change(job: Job) -> str:
    return f"{LIST}{job.pk}/change/"


def statements(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        page(client, url)
    return len(captured)


# --- Who sees what ------------------------------------------------------------------------------------------


def test_without_a_login_everything_asks_for_one(client):
    job = make_job()
    for url in (
        LIST,
        change(job),
        f"{LIST}live/",
        f"{LIST}{job.pk}/live/",
        f"{LIST}dashboard/",
        f"{LIST}{job.pk}/cancel/",
    ):
        response = client.get(url)
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")


def test_staff_without_permission_are_refused(staff):
    client, job = staff(), make_job(state="succeeded", result={"a": 1})
    for url in (
        LIST,
        change(job),
        f"{LIST}live/?ids={job.pk}",
        f"{LIST}{job.pk}/live/",
        f"{LIST}dashboard/",
        f"{LIST}{job.pk}/result/",
        f"{LIST}{job.pk}/cancel/",
        f"{LIST}{job.pk}/delete/",
        f"{LIST}{uuid4()}/change/",
    ):
        assert client.get(url).status_code == 403, url


def test_nobody_adds_or_edits(boss):
    job = make_job()
    assert boss.get(f"{LIST}add/").status_code == 403
    boss.post(change(job), {"state": "failed", "operation": "x"})
    job.refresh_from_db()
    assert job.state == State.ACCEPTED


def test_an_unknown_or_malformed_id_leads_back(boss):
    for pk in (uuid4(), "nonsense"):
        assert boss.get(f"{LIST}{pk}/change/").status_code == 302


def test_a_job_that_its_owner_deleted_is_not_shown(boss):
    job = make_job(state="running")
    Job.objects.filter(pk=job.pk).update(forgotten=True)
    assert listed(boss) == []
    assert boss.get(change(job)).status_code == 302
    assert json.loads(page(boss, f"{LIST}live/?ids={job.pk}")) == {"jobs": {}}


def test_only_what_has_ended_can_be_deleted(staff):
    client = staff("view_job", "delete_job")
    running, ended = make_job(state="running"), make_job(state="succeeded", result=1)

    assert client.post(f"{LIST}{running.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"{LIST}{ended.pk}/delete/", {"post": "yes"}).status_code == 302

    assert list(Job.objects.all()) == [running]


# --- The list -------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("state", State)
def test_every_state_shows_its_word(boss, state):
    make_job(state=state, result=1)
    assert f"</span>{state.label}</span>" in page(boss)


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


# --- What it costs ---------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("query", QUERIES)
def test_a_list_costs_four_statements_however_cold_the_caches_are(boss, neglected, query):
    assert statements(boss, LIST + query) <= 4  # session, user, operations, page with its count and its alarm


@pytest.mark.parametrize("query", QUERIES)
def test_staff_pay_two_more_for_their_permissions(staff, neglected, query):
    assert statements(staff("view_job"), LIST + query) <= 6


def test_the_list_says_that_a_job_starves_without_a_further_statement(staff, neglected):
    client = staff("view_job")
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


def offered(client: Client, query: str = "") -> list[str]:
    """Return the operations that the filter offers."""
    specs = client.get(LIST + query).context["cl"].filter_specs
    return [
        name
        for spec in specs
        if spec.title == filters.OperationFilter.title
        for name, _ in spec.lookup_choices
    ]


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
def test_all_are_shown_where_they_are_a_hundred_at_most(boss, count, shown):
    for _ in range(count):
        make_job()
    assert len(listed(boss, "?all=")) == shown


# --- What is found -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
def test_filter_by_state(boss, state):
    jobs = {s: make_job(state=s, result=1) for s in State}
    assert listed(boss, f"?state={state}") == [jobs[state]]


def test_filter_by_open_and_ended(boss):
    jobs = {s: make_job(state=s, result=1) for s in State}
    assert set(listed(boss, "?state=active")) == {jobs[s] for s in ("accepted", "running", "canceling")}
    assert set(listed(boss, "?state=ended")) == {jobs[s] for s in ("succeeded", "failed", "canceled")}


def test_filter_by_being_at_a_worker(boss):
    jobs = {s: make_job(state=s, result=1) for s in State}
    assert set(listed(boss, "?state=leased")) == {jobs["running"], jobs["canceling"]}


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
    client = staff("view_job")
    make_job(owner=alice)
    make_job()
    mine = [make_job(owner_id=client.session["_auth_user_id"], anonymous=False) for _ in range(3)]
    assert listed(client, "?mine=1") == mine[::-1]


@pytest.mark.parametrize(
    "query", ["?state=%00", "?operation=%00", "?created=x", "?attention=x", "?q=%00", "?mine=x"]
)
def test_nonsense_filters_nothing(boss, query):
    job = make_job()
    assert listed(boss, query) == [job]


@pytest.mark.parametrize(
    "lookup", ["input__contains", "owner__password__startswith", "log__icontains", "problem"]
)
def test_stored_data_cannot_be_felt_for_by_the_url(staff, lookup):
    make_job(input={"password": "s3cret"})
    assert staff("view_job").get(f"{LIST}?{lookup}=s3").status_code == 400


def test_search_finds_a_job_by_its_id_with_and_without_dashes(boss):
    job = make_job()
    make_job()
    assert listed(boss, f"?q={job.pk}") == [job]
    assert listed(boss, f"?q={job.pk.hex}") == [job]


def test_search_by_id_goes_to_the_primary_key(boss):
    job = make_job()
    with CaptureQueriesContext(connection) as captured:
        listed(boss, f"?q={job.pk}")
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


def test_a_search_that_finds_nothing_says_how_to_search(boss):
    make_job()
    assert "Give an id, an operation or a name in full" in page(boss, f"{LIST}?q=nobody")
    assert "Give an id" not in page(boss)


def test_an_empty_list_says_why(boss):
    assert "There are no jobs yet." in page(boss)
    make_job(state="running")
    assert "No job passes these filters." in page(boss, f"{LIST}?state=failed")
    assert '<p class="aa-nothing">' not in page(boss)


def test_nonsense_for_mine_leaves_the_order_alone(boss):
    assert boss.get(f"{LIST}?mine=x").context["cl"].queryset.query.order_by[0] == "-created_at"


def test_an_owners_jobs_are_read_in_the_order_of_their_index(boss, alice):
    """However the owner is searched for; a list that is sorted otherwise stays so."""
    orders = {"?q=alice": "id", "?q=owner:alice": "id", "?mine=1": "id", "?q=alice&o=5": "created_at"}
    for query, order in orders.items():
        sql = str(boss.get(LIST + query).context["cl"].queryset.query)
        assert "(SELECT U0." in sql.replace('"', "").replace("`", "")
        ordering = boss.get(LIST + query).context["cl"].queryset.query.order_by[0]
        assert ordering.lstrip("-") == order


# --- Live -----------------------------------------------------------------------------------------------------------


def test_live_tells_the_cells_of_active_jobs_in_one_statement(boss):
    running, ended = make_job(state="running"), make_job(state="succeeded", result=1)
    url = f"{LIST}live/?ids={running.pk.hex},{ended.pk},nonsense"
    with CaptureQueriesContext(connection) as captured:
        response = boss.get(url)
    jobs = response.json()["jobs"]

    assert len(captured) == 3  # session, user, jobs
    assert jobs[running.pk.hex]["active"] is True
    assert jobs[ended.pk.hex]["active"] is False
    assert set(jobs[running.pk.hex]["parts"]) == {"state", "created", "duration", "attempt"}
    assert "no-store" in response["Cache-Control"]


def test_live_answers_for_a_hundred_at_most(boss):
    jobs = [make_job() for _ in range(101)]
    ids = ",".join(job.pk.hex for job in jobs)
    assert len(boss.get(f"{LIST}live/?ids={ids}").json()["jobs"]) == 100


def test_live_without_ids_asks_nothing(boss):
    assert boss.get(f"{LIST}live/").json() == {"jobs": {}}


# --- A word when nobody works ----------------------------------------------------------------------------------------


def test_a_job_that_waits_while_no_worker_is_seen_says_so(boss):
    job = make_job(created_at=timezone.now() - statistics.QUIET * 3)
    assert "No worker is seen" in page(boss)
    assert "No worker is seen" in page(boss, change(job))


def test_no_alarm_while_a_worker_is_seen(boss):
    make_job(created_at=timezone.now() - statistics.QUIET * 3)
    make_job(state="running")
    assert "No worker is seen" not in page(boss)


def test_no_alarm_for_a_young_job(boss):
    make_job()
    assert "No worker is seen" not in page(boss)


# --- Safe and translated ---------------------------------------------------------------------------------------


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
