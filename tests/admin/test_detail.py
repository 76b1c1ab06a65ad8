"""The detail page: what happened, what it was asked, what it answered, and nothing that one may not see."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_results.backends import DatabaseBackend
from django_celery_results.models import TaskResult

import async_accept
from async_accept.admin import detail, statistics
from async_accept.admin import timeline as admin_timeline
from async_accept.admin.timeline import timeline
from async_accept.models import Job
from async_accept.problems import problem
from async_accept.states import State
from async_accept.testing import make_job
from tests.testapp.models import Shelf

pytestmark = pytest.mark.django_db

LIST = "/admin/async_accept/job/"
XSS = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(autouse=True)
def _fresh_cache():
    cache.clear()


@pytest.fixture
def staff(django_user_model):
    def make(*codenames: str) -> Client:
        user = django_user_model.objects.create_user(f"staff{len(codenames)}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=["view_job", *codenames]))
        client = Client()
        client.force_login(user)
        return client

    return make


def page(client: Client, job: Job) -> str:
    response = client.get(f"{LIST}{job.pk}/change/")
    assert response.status_code == 200
    return response.content.decode()


def failed(**columns) -> Job:
    job = make_job(state="failed", **columns)
    TaskResult.objects.filter(task_id=str(job.pk)).update(traceback="Traceback: KeyError: s3cret-trace")
    return job


@pytest.mark.parametrize(("who", "most"), [("boss", 4), ("staff", 6)])
@pytest.mark.parametrize("state", State)
def test_it_costs_four_statements_at_most_and_staff_two_for_their_permissions(request, who, most, state):
    """With cold caches, and where the page says that nobody works."""
    client = request.getfixturevalue(who)
    client = client("view_input", "view_traceback", "view_taskresult") if who == "staff" else client
    job = make_job(
        state=state,
        result={"a": 1},
        input={"a": 1},
        progress={"percent": 5.0},
        created_at=timezone.now() - statistics.QUIET * 3,
        object_type=ContentType.objects.get_for_model(Shelf),
        object_id="1",
    )
    cache.clear()
    ContentType.objects.clear_cache()
    with CaptureQueriesContext(connection) as captured:
        html = page(client, job)
    assert ("No worker is seen" in html) == (state == "accepted")
    assert len(captured) <= most  # session, user, job, result


def test_the_title_tells_jobs_of_one_operation_apart(boss):
    job = make_job(operation="orders.create")
    html = page(boss, job)
    title = f"orders.create …{str(job.pk)[-8:]}"
    assert f"<title>{title} |" in html
    assert f"<h1><bdi>{title}</bdi></h1>" in html


# --- What happened -----------------------------------------------------------------------------------------


def test_the_timeline_tells_attempts_waiting_and_running():
    now = timezone.now()
    at = {n: now - timedelta(seconds=n) for n in (100, 90, 60, 50, 20)}
    job = make_job(
        state="succeeded",
        result=1,
        created_at=at[100],
        attempt=2,
        started_at=at[50],
        finished_at=at[20],
        worker="b",
        expires_at=now + timedelta(days=1),
        history=[
            {
                "attempt": 1,
                "worker": "a",
                "started_at": at[90].isoformat(),
                "ended_at": at[60].isoformat(),
                "reason": "lease",
            }
        ],
    )
    told = [(step.what, [note.replace("\u00a0", " ") for note in step.notes]) for step in timeline(job)]
    assert told == [
        ("Accepted", []),
        ("Attempt 1 began", ["after waiting 10 s", "on a"]),
        ("Attempt 1 ended without a result", ["Its worker gave no sign of life any more."]),
        ("Attempt 2 began", ["after waiting 10 s", "on b"]),
        ("Succeeded", ["after running 30 s"]),
        ("Result expires", []),
    ]


@pytest.mark.parametrize(
    ("state", "notes"), [("failed", ["30/100 orders"]), ("canceled", ["30/100 orders"]), ("succeeded", [])]
)
def test_the_timeline_tells_how_far_it_got(state, notes):
    """What succeeded got to its end."""
    progress = {"current": 30, "total": 100, "unit": "orders", "percent": 30.0}
    job = make_job(state=state, progress=progress, started_at=None)
    (end,) = (step for step in timeline(job) if step.when == job.finished_at)
    assert end.notes == notes


def test_the_timeline_keeps_its_notes_apart(boss):
    job = make_job(state="running", worker="celery@box", created_at=timezone.now() - timedelta(seconds=9))
    text = re.sub(r"<[^>]+>", "", page(boss, job)).replace("\u00a0", " ")
    assert re.search(r"Attempt 1 began · after waiting \d+ s · on celery@box", text)


def test_the_timeline_shows_each_time_to_the_second(boss):
    """For all to see: a title is not shown on a touch screen, nor to who uses the keyboard."""
    created_at = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)
    job = make_job(
        state="running", created_at=created_at, started_at=timezone.now() - timedelta(hours=4, minutes=1)
    )
    html = page(boss, job)
    assert f">March 1, 2026, {timezone.localtime(created_at):%H:%M:%S}</time>" in html
    assert re.search(r"4\u00a0h ago</time> · <bdi>\w+\.? \d+, \d{4}, \d\d:\d\d:\d\d</bdi>", html)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("lease", "Its worker gave no sign of life any more."),
        ("worker: lost", "Its process died."),
        ("worker: shut down", "Its worker was shut down."),
        ("retry", "The task asked for another attempt."),
        ("retry: KeyError", "The task asked for another attempt: KeyError"),
        ("database: OperationalError", "The database failed: OperationalError"),
        ("", None),
        ("of other making", "of other making"),
    ],
)
def test_why_an_attempt_ended_is_told_as_a_sentence(code, sentence):
    job = make_job(attempt=1, history=[{"attempt": 1, "reason": code}])
    (step,) = (step for step in timeline(job) if "ended" in step.what)
    assert step.notes == ([sentence] if sentence else [])


def test_every_code_that_the_package_writes_has_its_sentence():
    sources = "".join(path.read_text() for path in Path(async_accept.__file__).parent.rglob("*.py"))
    codes = set(re.findall(r"""\b(?:lose\(|reason = )f?"([a-z: ]+?)(?=["{])""", sources))
    assert codes == {"lease", "worker: lost", "worker: shut down", "retry: ", "database: "}
    for code in codes:
        assert admin_timeline._reason(f"{code}X" if code.endswith(" ") else code) not in (code, f"{code}X")


def test_the_timeline_of_a_job_that_waits_again():
    job = make_job(
        attempt=1, history=[{"attempt": 1, "started_at": None, "ended_at": "nonsense", "reason": None}]
    )
    assert [step.what for step in timeline(job)][-1] == "Waits for its next attempt"


def test_the_hashes_of_its_keys_are_shown_and_found(boss):
    job = make_job(idempotency_key="a" * 64, active_hash="b" * 64)
    make_job()
    html = page(boss, job)
    for key in ("a" * 64, "b" * 64):
        assert f'<code class="aa-copy" dir="ltr">{key}</code>' in html
        found = boss.get(f"{LIST}?q=key:{key}").context["cl"].result_list
        assert list(found) == [job]
    assert "Hash of" not in page(boss, make_job())


def test_the_log_is_shown(boss):
    assert "12:00 reading" in page(boss, make_job(state="running", log="12:00 reading\n12:01 done"))


def test_reruns_are_linked(boss):
    first = make_job(state="failed")
    again = make_job(rerun_of=first.pk)
    assert f"{LIST}{first.pk}/change/" in page(boss, again)


# --- Live ------------------------------------------------------------------------------------------------------


def live(client: Client, job: Job) -> dict:
    response = client.get(f"{LIST}{job.pk}/live/")
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    return response.json()["jobs"].get(job.pk.hex, {})


def test_live_tells_the_parts_that_change_with_every_report(boss):
    job = make_job(
        state="running",
        log="12:00 reading <a>",
        progress={
            "current": 3,
            "total": 9,
            "unit": "",
            "message": "Row <3>",
            "percent": 33.3,
            "stage": "Reading",
        },
    )
    with CaptureQueriesContext(connection) as captured:
        told = live(boss, job)
    assert len(captured) == 3  # session, user, job
    assert told["active"] is True
    assert "3/<wbr>9" in told["parts"]["state"]
    assert told["parts"]["message"] == "<strong><bdi>Reading</bdi></strong> <bdi>Row &lt;3&gt;</bdi>"
    assert told["parts"]["log"] == "12:00 reading &lt;a&gt;"
    html = page(boss, job)
    for part in ("state", "duration", "message", "log"):
        assert re.search(f'data-aa-job="{job.pk.hex}" data-aa-part="{part}"[^>]* data-aa-active>', html)


def test_live_reads_no_input(staff):
    job = make_job(input={"sku": "TEA-1"})
    client = staff("view_input")
    with CaptureQueriesContext(connection) as captured:
        live(client, job)
    asked = [re.sub(r'"input" IS (NOT )?NULL', "", q["sql"].replace("`", '"')) for q in captured]
    assert not any('"input"' in sql for sql in asked)


def test_the_version_tells_when_more_than_the_parts_has_changed(boss):
    job = make_job(created_at=timezone.now() - statistics.QUIET * 2)
    seen = [live(boss, job)["version"]]

    def look() -> bool:
        seen.append(live(boss, job)["version"])
        assert f'data-aa-version="{seen[-1]}"' in page(boss, job)
        return seen[-1] != seen[-2]

    assert not look()
    assert job.claim("worker@test", 1)
    assert look()
    Job.objects.update(progress={"current": 1, "total": 9, "message": "x"})
    assert not look()
    Job.objects.update(log="first line")
    assert look()
    Job.objects.update(log="first line\nsecond line")
    assert not look()
    assert job.give_back(timedelta(0), "retry")
    assert look()
    assert job.claim("worker@test", 1)
    assert look()
    assert job.cancel()
    assert look()
    assert job.end_canceled()
    assert look()


def test_live_tells_nothing_of_a_job_that_is_not_shown(boss):
    job = make_job(state="running")
    Job.objects.update(forgotten=True)
    assert live(boss, job) == {}


# --- What it answered -----------------------------------------------------------------------------------------


def test_the_result_is_pretty_with_secrets_hidden(boss):
    html = page(boss, make_job(state="succeeded", result={"total": 5, "api_token": "s3cret"}))
    assert "{\n  &quot;total&quot;: 5,\n  &quot;api_token&quot;: &quot;••••••&quot;\n}" in html
    assert "s3cret" not in html


def test_a_long_result_is_cut_and_can_be_downloaded(boss):
    job = make_job(state="succeeded", result=["x" * 80_000], operation="big")
    html = page(boss, job)
    assert "Only the beginning is shown." in html
    assert len(html) < 64 * 1024 + 40_000

    response = boss.get(f"{LIST}{job.pk}/result/")
    assert response.json() == ["x" * 80_000]
    assert response["Content-Disposition"] == f'attachment; filename="job-{job.pk}.json"'
    assert response["X-Content-Type-Options"] == "nosniff"


def test_a_huge_result_is_not_taken_apart_for_a_page(boss, monkeypatch):
    monkeypatch.setattr(detail, "PARSED_CHARS", 100)
    assert "too large to be shown here" in page(boss, make_job(state="succeeded", result=["x" * 200]))


def test_the_download_hides_secrets_too(boss):
    job = make_job(state="succeeded", result={"password": "s3cret"})
    assert boss.get(f"{LIST}{job.pk}/result/").json() == {"password": "••••••"}


def test_a_result_that_is_gone_says_so(boss):
    expired = make_job(state="succeeded", result={"a": "value"}, expires_at=timezone.now() - timedelta(1))
    pruned = make_job(state="succeeded", result={"a": "value"})
    TaskResult.objects.filter(task_id=str(pruned.pk)).delete()
    for job in (expired, pruned):
        html = page(boss, job)
        assert "is gone" in html
        assert "value&quot;" not in html
        assert boss.get(f"{LIST}{job.pk}/result/").status_code == 404


def celery_itself(job: Job) -> None:
    """Store a result as Celery's own backend does for any message that has the job's id."""
    DatabaseBackend(current_app).store_result(str(job.pk), {"forged": True}, "SUCCESS")


def another_program(job: Job) -> None:
    """Write over the whole row."""
    TaskResult.objects.filter(task_id=str(job.pk)).update(
        result='{"forged": true}', traceback="forged trace", meta=None
    )


@pytest.mark.parametrize("overwrite", [celery_itself, another_program])
def test_a_row_that_somebody_wrote_over_is_no_result_in_the_api_and_in_the_admin(boss, overwrite):
    job = make_job(state="succeeded", result={"total": 5})
    overwrite(job)
    gone = Client().get(f"/api/jobs/{job.pk}/result/")
    assert (gone.status_code, gone.json()["code"]) == (410, "result-expired")
    html = page(boss, job)
    assert "is gone" in html
    assert "forged" not in html
    assert f"/taskresult/{TaskResult.objects.get().pk}/" not in html
    assert boss.get(f"{LIST}{job.pk}/result/").status_code == 404


def test_a_traceback_that_somebody_wrote_over_is_not_shown(boss):
    job = failed()
    another_program(job)
    assert "forged" not in page(boss, job)


def test_a_problem_is_told_in_full(boss):
    document = problem(
        "rejected", "The input is not valid.", errors={"sku": ["Unknown."], "password": ["s3cret"]}
    )
    html = page(boss, make_job(state="failed", problem=document))
    for text in (document["title"], "The input is not valid.", "Unknown."):
        assert text in html
    assert document["type"] in html.replace("<wbr>", "")
    assert "s3cret" not in html


def test_the_result_storage_is_linked_for_those_who_may_look(staff, boss):
    job = make_job(state="succeeded", result=1)
    row = TaskResult.objects.get(task_id=str(job.pk))
    url = f"/admin/django_celery_results/taskresult/{row.pk}/change/"
    assert url in page(boss, job)
    assert url not in page(staff(), job)


def test_where_the_input_is_gone_it_says_what_follows(boss):
    said = "The input is no longer kept, so the job cannot be run again."
    assert said in page(boss, make_job(state="failed", input=None))
    assert said not in page(boss, make_job(state="failed", input={}))
    assert said not in page(boss, make_job(state="running", input=None))


# --- What only some may see --------------------------------------------------------------------------------------


def test_the_traceback_needs_its_permission(staff):
    job = failed()
    assert "s3cret-trace" in page(staff("view_traceback"), job)
    assert "s3cret-trace" not in page(staff(), job)


def test_the_input_needs_its_permission_and_is_not_even_read_without(staff):
    job = make_job(input={"data": {"sku": "TEA-1"}}, request={"method": "POST", "path": "/api/orders/"})
    assert "TEA-1" in page(staff("view_input"), job)
    client = staff()
    with CaptureQueriesContext(connection) as captured:
        html = page(client, job)
    assert "TEA-1" not in html
    assert "/api/orders/" not in html
    # Only whether there is one is asked for: a job without it cannot be run again.
    asked = [re.sub(r'"input" IS (NOT )?NULL', "", q["sql"].replace("`", '"')) for q in captured]
    assert not any('"input"' in sql or '"request"' in sql for sql in asked)


def test_secrets_in_the_input_are_hidden_from_everybody(boss):
    job = make_job(
        input={"data": {"user": "a", "password": "s3cret"}},
        request={"method": "POST", "path": "/api/x/", "meta": {"QUERY_STRING": "q=1&token=s3cret"}},
    )
    html = page(boss, job)
    assert "s3cret" not in html
    assert "POST /api/x/?q=1&amp;token=••••••" in html


def test_what_is_hidden_is_a_setting(boss, settings):
    settings.ASYNC_ACCEPT = {"REDACT_KEYS": "^sku$"}
    html = page(boss, make_job(input={"sku": "TEA-1", "password": "shown"}))
    assert "TEA-1" not in html
    assert "shown" in html


# --- Safe ------------------------------------------------------------------------------------------------------


def test_stored_markup_is_shown_harmlessly(boss, django_user_model):
    columns = {
        "operation": XSS[:100],
        "task": XSS,
        "owner": django_user_model.objects.create_user(XSS),
        "input": {XSS: XSS},
        "request": {"method": XSS, "path": XSS, "meta": {"CONTENT_TYPE": XSS}},
        "log": XSS,
        "worker": XSS,
        "queue": XSS,
        "progress": {"current": 1, "total": 2, "unit": XSS, "message": XSS, "percent": 50.0, "stage": XSS},
        "history": [{"attempt": XSS[:5], "worker": XSS, "reason": XSS}],
    }
    columns["history"][0]["attempt"] = 1
    document = problem("failed", XSS, title=XSS, reference=XSS, errors={XSS: XSS})
    document["type"] = f"javascript:{XSS}"
    jobs = [
        make_job(state="running", **columns),
        make_job(
            state="succeeded",
            result={XSS: XSS},
            response={"status": 200, "headers": {"Location": XSS}},
            **columns,
        ),
        make_job(state="failed", problem=document, **columns),
    ]
    TaskResult.objects.update(traceback=XSS)
    for job in jobs:
        html = page(boss, job)
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert 'href="javascript:' not in html
        assert "&lt;script&gt;alert" in html


def test_a_project_can_override_a_block(boss, settings, tmp_path):
    template = tmp_path / "admin/async_accept/job/detail.html"
    template.parent.mkdir(parents=True)
    template.write_text(
        '{% extends "admin/async_accept/job/detail.html" %}{% block job_deliveries %}mine{% endblock %}'
    )
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [str(tmp_path)]}]
    assert "mine" in page(boss, make_job())


def test_one_button_deletes(boss, staff):
    job = make_job(state="succeeded", result=1)
    assert f"{job.pk}/delete/" not in page(boss, job)
    assert f"{job.pk}/delete/" in page(staff("delete_job"), job)


def test_the_log_of_what_staff_did_is_linked(boss):
    job = make_job()
    assert f"{LIST}{job.pk}/history/" in page(boss, job)
    boss.post(f"{LIST}{job.pk}/cancel/", {"confirmed": "yes"})
    assert "Asked to stop." in boss.get(f"{LIST}{job.pk}/history/").content.decode()
