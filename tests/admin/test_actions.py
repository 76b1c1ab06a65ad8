"""What staff do with jobs: each with its permission, a question first, and a line in the log."""

import re
from uuid import uuid4

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.db import connection
from django.db.models.signals import pre_delete
from django.test.utils import CaptureQueriesContext
from django_celery_results.models import TaskResult

from async_accept.admin import actions
from async_accept.admin.actions import ACTIONS
from async_accept.models import Job
from async_accept.signals import job_ending
from async_accept.states import FINAL, State
from async_accept.testing import make_job
from tests.admin.conftest import LIST, page, post
from tests.testapp import tasks

pytestmark = pytest.mark.django_db

PERMISSIONS = ("cancel_job", "rerun_job", "purge_job", "export_job")


def said(response) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


# --- Permissions -----------------------------------------------------------------------------------------


def test_every_permission_is_made_by_the_migration():
    assert set(
        Permission.objects.filter(content_type__app_label="async_accept").values_list("codename", flat=True)
    ) == {
        "view_job",
        "delete_job",
        *PERMISSIONS,
        "view_input",
        "view_traceback",
    }


@pytest.mark.parametrize("name", ACTIONS)
def test_the_menu_offers_what_one_may_do_and_nothing_else(staff, name):
    make_job()
    codename = f"{name}_job"
    response = staff(codename).get(LIST)
    offered = [value for value, _label in response.context["action_form"].fields["action"].choices if value]
    assert offered == [name]


def test_without_a_permission_there_is_no_menu(staff):
    make_job()
    assert 'name="action"' not in page(staff())


@pytest.mark.parametrize("name", ACTIONS)
def test_another_permission_does_not_do(staff, name):
    """Neither from the list nor from the button, neither the question nor the deed."""
    job = make_job(state="accepted" if name == "cancel" else "succeeded", result=1)
    others = [p for p in PERMISSIONS if p != f"{name}_job"]
    client = staff(*others)

    post(client, name, job)
    assert client.get(f"{LIST}{job.pk}/{name}/").status_code == 403
    assert client.post(f"{LIST}{job.pk}/{name}/", {"confirmed": "yes"}).status_code == 403

    assert list(Job.objects.values_list("state", flat=True)) == [job.state]
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("state", State)
def test_the_buttons_of_a_page_fit_its_state(staff, state):
    job = make_job(state=state, result=1, input={})
    everything = page(staff("cancel_job", "rerun_job", "purge_job"), job)
    nothing = page(staff("view_input", "view_traceback"), job)
    for name in ("cancel", "rerun", "purge"):
        fits = state in {"cancel": ("accepted", "running")}.get(name, FINAL)
        assert ACTIONS[name].applies(job) == fits
        assert (f"{LIST}{job.pk}/{name}/" in everything) == fits
        assert f"{LIST}{job.pk}/{name}/" not in nothing


@pytest.mark.parametrize("name", ["cancel", "rerun", "purge"])
def test_each_button_needs_its_own_permission(staff, name):
    for state in ("running", "failed"):
        job = make_job(state=state, input={})
        html = page(staff(f"{name}_job"), job)
        shown = [each for each in ("cancel", "rerun", "purge") if f"{LIST}{job.pk}/{each}/" in html]
        assert shown == ([name] if (name == "cancel") == (state == "running") else [])


# --- Asking first ------------------------------------------------------------------------------------------


def test_the_question_tells_how_many_and_changes_nothing(staff):
    client = staff("cancel_job")
    jobs = [make_job(), make_job(state="running"), make_job(state="succeeded", result=1)]

    response = post(client, "cancel", *jobs, confirmed=False)

    html = response.content.decode()
    assert "Cancel 2 jobs?" in html
    assert response.context["chosen"] == "3"
    assert response.context["left_alone"] == "1"
    assert [Job.objects.get(pk=job.pk).state for job in jobs] == ["accepted", "running", "succeeded"]


def test_the_question_carries_the_choice_along(staff):
    client = staff("cancel_job")
    job = make_job()
    hidden = post(client, "cancel", job, confirmed=False, select_across="0").context["hidden"]
    assert hidden == [("action", "cancel"), ("select_across", "0"), ("_selected_action", str(job.pk))]


def test_it_says_that_nothing_can_be_done(staff):
    client = staff("cancel_job")
    response = post(client, "cancel", make_job(state="failed"), confirmed=False)
    assert "none of the chosen jobs" in response.content.decode()
    assert 'name="confirmed"' not in response.content.decode()


@pytest.mark.parametrize(
    ("name", "chosen", "left_alone", "question"),
    [
        ("cancel", "3+", "2", "Cancel 3+ jobs?"),
        ("purge", "3+", "3+", "Delete 2 jobs with their results, for good?"),
        ("export", "3+", "", "Export 3+ jobs as CSV?"),
    ],
)
def test_above_the_cap_nothing_is_said_that_was_not_counted(
    staff, monkeypatch, name, chosen, left_alone, question
):
    monkeypatch.setattr(actions, "CAP", 3)
    jobs = [make_job() for _ in range(4)] + [make_job(state="failed") for _ in range(2)]
    response = post(staff(f"{name}_job"), name, *jobs, confirmed=False)
    assert response.context["chosen"] == chosen
    assert response.context["left_alone"] == left_alone
    assert response.context["question"] == question
    assert question in response.content.decode()


def test_a_file_that_may_be_cut_says_so(staff, monkeypatch):
    client, jobs = staff("export_job"), [make_job() for _ in range(3)]
    assert "at most" not in post(client, "export", *jobs, confirmed=False).content.decode()
    monkeypatch.setattr(actions, "CAP", 2)
    html = post(client, "export", *jobs, confirmed=False).content.decode()
    assert "A file has at most 1,000,000 jobs, in the order of the list." in html


def test_no_leads_back_to_the_list_as_it_was(staff):
    client = staff("cancel_job")
    query = "?state=accepted&q=op%3Aorders&p=2"
    job = make_job(operation="orders.create")
    response = post(client, "cancel", job, confirmed=False, query=query)
    assert response.context["back"] == LIST + query
    assert f'href="{LIST}?state=accepted&amp;q=op%3Aorders&amp;p=2"' in response.content.decode()
    assert post(client, "cancel", job, query=query)["Location"] == LIST + query


def test_a_get_of_a_button_only_asks(staff):
    client = staff("purge_job")
    job = make_job(state="succeeded", result=1)
    assert "Delete 1 job with its result, for good?" in client.get(f"{LIST}{job.pk}/purge/").content.decode()
    assert Job.objects.filter(pk=job.pk).exists()


@pytest.mark.parametrize("name", ["cancel", "rerun", "purge"])
def test_a_button_of_a_job_that_is_gone_says_so(boss, name):
    response = boss.get(f"{LIST}{uuid4()}/{name}/", follow=True)
    assert response.status_code == 200
    assert "doesn’t exist" in response.content.decode()


def test_a_post_without_the_answer_only_asks(staff):
    client = staff("purge_job")
    job = make_job(state="succeeded", result=1)
    assert client.post(f"{LIST}{job.pk}/purge/").status_code == 200
    assert Job.objects.filter(pk=job.pk).exists()


@pytest.mark.parametrize("name", ["cancel", "rerun", "purge", "export"])
def test_nothing_is_done_without_a_csrf_token(staff, name):
    client = staff(f"{name}_job", enforce_csrf_checks=True)
    job = make_job(state="accepted" if name == "cancel" else "succeeded", result=1)
    assert post(client, name, job).status_code == 403
    assert client.post(f"{LIST}{job.pk}/{name}/", {"confirmed": "yes"}).status_code == 403
    assert list(Job.objects.values_list("state", flat=True)) == [job.state]


# --- Doing it ------------------------------------------------------------------------------------------------


def test_cancel(staff):
    client = staff("cancel_job")
    waiting, running, ended = make_job(), make_job(state="running"), make_job(state="failed")

    response = post(client, "cancel", waiting, running, ended)

    assert response.status_code == 302
    assert said(response) == ["2 jobs were asked to stop."]
    states = [Job.objects.get(pk=job.pk).state for job in (waiting, running, ended)]
    assert states == ["canceled", "canceling", "failed"]
    entries = LogEntry.objects.order_by("object_id")
    assert {entry.object_id for entry in entries} == {str(waiting.pk), str(running.pk)}
    assert {(entry.action_flag, entry.get_change_message()) for entry in entries} == {
        (CHANGE, "Asked to stop.")
    }


def test_rerun_leaves_alone_what_is_active_already(staff):
    client = staff("rerun_job")
    job = make_job(state="failed", input={"x": 1}, active_hash="k")
    make_job(active_key="k", active_hash="k")
    response = post(client, "rerun", job)
    assert said(response) == ["0 jobs run again."]
    assert not Job.objects.filter(rerun_of=job.pk).exists()
    assert not LogEntry.objects.exists()


def test_rerun_keeps_input_and_owner(staff, django_user_model):
    client = staff("rerun_job")
    alice = django_user_model.objects.create_user("alice")
    job = make_job(tasks.add, state="failed", input={"x": 1, "y": 2}, owner=alice)

    response = post(client, "rerun", job)

    assert said(response) == ["1 job runs again."]
    again = Job.objects.get(rerun_of=job.pk)
    job.refresh_from_db()
    assert (again.input, again.owner, again.state) == ({"x": 1, "y": 2}, alice, "accepted")
    assert (job.state, job.rerun_as) == ("failed", again.pk)
    assert LogEntry.objects.get().object_id == str(job.pk)


def test_without_its_input_a_job_is_not_run_again(staff):
    """That of a job with uploads goes with them, right after its end."""
    client = staff("rerun_job")
    gone = make_job(tasks.add, state="failed", input=None)
    going = make_job(tasks.add, state="failed", input={"x": 1}, uploads=["async_accept/uploads/x/0"])
    kept = make_job(tasks.add, state="failed", input={"x": 1, "y": 2})

    asked = post(client, "rerun", gone, going, kept, confirmed=False)
    assert asked.context["question"].startswith("Run 1 job again")
    assert asked.context["left_alone"] == "2"
    assert "their input is gone" in asked.content.decode()

    response = post(client, "rerun", gone, going, kept)
    assert said(response) == ["1 job runs again."]
    assert Job.objects.get(rerun_of__isnull=False).rerun_of == kept.pk

    for job in (gone, going):
        assert f"{job.pk}/rerun/" not in page(client, job)
        url = f"{LIST}{job.pk}/rerun/"
        assert "There is nothing to do" in client.get(url).content.decode()
        client.post(url, {"confirmed": "yes"})
    assert Job.objects.count() == 4


def test_purge_takes_the_result_along_and_leaves_open_jobs(staff):
    client = staff("purge_job")
    ended, running = make_job(state="succeeded", result=1), make_job(state="running")

    response = post(client, "purge", ended, running)

    assert said(response) == ["1 job was purged."]
    assert list(Job.objects.all()) == [running]
    assert not TaskResult.objects.filter(task_id=str(ended.pk)).exists()
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.action_flag) == (str(ended.pk), DELETION)


def test_a_button_does_it_for_one_job_and_leads_back(staff):
    client = staff("cancel_job", "purge_job")
    job = make_job()
    response = client.post(f"{LIST}{job.pk}/cancel/", {"confirmed": "yes"})
    assert response["Location"] == f"{LIST}{job.pk}/change/"
    response = client.post(f"{LIST}{job.pk}/purge/", {"confirmed": "yes"})
    assert response["Location"] == LIST
    assert not Job.objects.exists()


def test_a_job_that_ended_meanwhile_is_left_alone(staff):
    client = staff("cancel_job")
    job = make_job(state="succeeded", result=1)
    response = client.post(f"{LIST}{job.pk}/cancel/", {"confirmed": "yes"}, follow=True)
    assert "0 jobs were asked to stop." in response.content.decode()
    job.refresh_from_db()
    assert job.state == State.SUCCEEDED


def test_select_across_takes_all_that_the_list_shows(staff):
    client = staff("cancel_job")
    jobs = [make_job(operation="a") for _ in range(3)]
    other = make_job(operation="b")
    post(client, "cancel", jobs[0], query="?operation=a", select_across="1")
    assert {Job.objects.get(pk=job.pk).state for job in jobs} == {"canceled"}
    assert Job.objects.get(pk=other.pk).state == "accepted"


def test_one_go_is_bounded_and_says_so(staff, monkeypatch):
    monkeypatch.setattr(actions.JobAction, "limit", 2)
    client = staff("cancel_job")
    jobs = [make_job() for _ in range(3)]
    assert "at most 2 jobs" in post(client, "cancel", *jobs, confirmed=False).content.decode()
    post(client, "cancel", *jobs)
    assert Job.objects.filter(state="canceled").count() == 2


# --- Doing it for the rest ---------------------------------------------------------------------------------


def repeat(client, action, jobs, times=2):
    """Confirm an action for the same jobs several times; return what is said each time."""
    return [said(post(client, action, *jobs))[-1] for _ in range(times)]


def test_a_repeated_rerun_reaches_the_rest_and_reruns_none_again(staff, monkeypatch):
    monkeypatch.setattr(actions.JobAction, "limit", 2)
    jobs = [make_job(state="failed", input={}) for _ in range(3)]
    told = repeat(staff("rerun_job"), "rerun", jobs, times=3)
    assert told == ["2 jobs run again.", "1 job runs again.", "0 jobs run again."]
    assert sorted(Job.objects.filter(rerun_of__isnull=False).values_list("rerun_of", flat=True)) == sorted(
        job.pk for job in jobs
    )


def test_a_repeated_cancel_reaches_the_rest(staff, monkeypatch):
    monkeypatch.setattr(actions.JobAction, "limit", 2)
    jobs = [make_job(state="running") for _ in range(3)]
    told = repeat(staff("cancel_job"), "cancel", jobs)
    assert told == ["2 jobs were asked to stop.", "1 job was asked to stop."]
    assert LogEntry.objects.count() == 3


@pytest.mark.parametrize(
    ("name", "job", "excuse"),
    [
        ("cancel", {"state": "canceling"}, "were asked to stop already"),
        ("rerun", {"state": "failed", "input": {}, "rerun_as": uuid4()}, "were run again already"),
    ],
)
def test_what_was_done_already_is_left_alone(staff, name, job, excuse):
    asked = post(staff(f"{name}_job"), name, make_job(**job), confirmed=False)
    assert asked.context["left_alone"] == "1"
    assert excuse in asked.content.decode()


def test_a_button_runs_a_job_again_that_was_run_again(staff):
    client = staff("rerun_job")
    job = make_job(state="failed", input={})
    for _ in range(2):
        client.post(f"{LIST}{job.pk}/rerun/", {"confirmed": "yes"})
    assert Job.objects.filter(rerun_of=job.pk).count() == 2


@pytest.mark.parametrize("by_button", [True, False])
def test_an_answer_that_is_sent_twice_makes_one_new_job(staff, by_button):
    client = staff("rerun_job")
    job = make_job(state="failed", input={})
    url = f"{LIST}{job.pk}/rerun/" if by_button else LIST
    form = {"action": "rerun", "_selected_action": str(job.pk)}
    key = client.post(url, form).context["key"]
    told = [said(client.post(url, {**form, "confirmed": "yes", "key": key})) for _ in range(2)]
    assert told[0] == ["1 job runs again."]
    assert Job.objects.filter(rerun_of=job.pk).count() == LogEntry.objects.count() == 1


@pytest.fixture
def protected():
    """Let the project protect jobs of one operation."""

    def refuse(sender, instance, **kwargs):
        if instance.operation == "protected":
            raise RuntimeError("s3cret")

    pre_delete.connect(refuse, sender=Job)
    yield
    pre_delete.disconnect(refuse, sender=Job)


def test_jobs_that_cannot_be_purged_do_not_keep_the_rest(staff, protected, monkeypatch):
    monkeypatch.setattr(actions.JobAction, "limit", 2)
    kept = [make_job(operation="protected", state="failed") for _ in range(3)]
    rest = [make_job(state="failed") for _ in range(2)]
    told = said(post(staff("purge_job"), "purge", *kept, *rest))
    assert told == [
        "2 jobs were purged.",
        "3 were left as they are because of errors, which the server’s log names.",
    ]
    assert set(Job.objects.all()) == set(kept)
    assert LogEntry.objects.count() == 2


def test_jobs_whose_rerun_is_refused_do_not_keep_the_rest(staff, monkeypatch):
    monkeypatch.setattr(actions.JobAction, "limit", 1)
    refused = make_job(state="failed", input={}, active_hash="k")
    make_job(active_key="k", active_hash="k")
    other = make_job(state="failed", input={})
    post(staff("rerun_job"), "rerun", refused, other)
    assert Job.objects.get(rerun_of__isnull=False).rerun_of == other.pk


# --- Doing it although something fails -----------------------------------------------------------------------


def test_an_error_with_one_job_does_not_keep_the_others_and_is_told(staff, caplog):
    jobs = [make_job() for _ in range(3)]

    def refuse(sender, job, **kwargs):
        if job.pk == jobs[1].pk:
            raise RuntimeError("s3cret")

    job_ending.connect(refuse, sender=Job)
    try:
        told = said(post(staff("cancel_job"), "cancel", *jobs))
    finally:
        job_ending.disconnect(refuse, sender=Job)
    assert told == [
        "2 jobs were asked to stop.",
        "1 was left as it is because of an error, which the server’s log names.",
    ]
    assert [Job.objects.get(pk=job.pk).state for job in jobs] == ["canceled", "accepted", "canceled"]
    assert set(LogEntry.objects.values_list("object_id", flat=True)) == {str(jobs[0].pk), str(jobs[2].pk)}
    assert f"Action cancel failed with {jobs[1]}: RuntimeError" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("name", ["cancel", "purge"])
def test_no_large_column_is_read(staff, name):
    jobs = [make_job(state="accepted" if name == "cancel" else "failed", input={"a": 1}) for _ in range(2)]
    client = staff(f"{name}_job")
    with CaptureQueriesContext(connection) as captured:
        post(client, name, *jobs)
    read = [re.sub(r'"input" IS (NOT )?NULL', "", q["sql"].replace("`", '"')) for q in captured]
    for column in ("input", "request", "history", "log"):
        assert not [sql for sql in read if sql.startswith("SELECT") and f'"{column}"' in sql]


def test_inputs_are_read_one_at_a_time(staff):
    jobs = [make_job(state="failed", input={"a": 1}) for _ in range(2)]
    client = staff("rerun_job")
    with CaptureQueriesContext(connection) as captured:
        post(client, "rerun", *jobs)
    read = [re.sub(r'"input" IS (NOT )?NULL', "", q["sql"].replace("`", '"')) for q in captured]
    whole = [sql for sql in read if sql.startswith("SELECT") and '"input"' in sql]
    assert len(whole) == 2
    assert all(sql.endswith("LIMIT 1") for sql in whole)


def test_staff_stop_what_its_owner_has_deleted_and_do_not_run_it_again(staff):
    client = staff("cancel_job", "rerun_job")
    running, ended = make_job(state="running"), make_job(state="failed", input={})
    Job.objects.update(forgotten=True)
    post(client, "cancel", running)
    post(client, "rerun", ended)
    running.refresh_from_db()
    assert running.state == "canceling"
    assert not Job.objects.filter(rerun_of=ended.pk).exists()
