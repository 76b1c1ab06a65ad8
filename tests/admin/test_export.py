"""The export of jobs as CSV."""

import csv
import io

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models.signals import post_init
from django.test import AsyncClient

from async_accept.admin import actions, export
from async_accept.models import Job
from async_accept.problems import problem
from async_accept.testing import make_job
from tests.admin.conftest import LIST, post
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db


def exported(response) -> list[dict[str, str]]:
    text = b"".join(response.streaming_content).decode()
    assert text.startswith("\ufeff")  # for Excel
    text = text.removeprefix("\ufeff")
    return list(csv.DictReader(io.StringIO(text)))


def test_export_streams_what_was_chosen(staff, django_user_model):
    client = staff("export_job")
    alice = django_user_model.objects.create_user("alice")
    job = make_job(
        operation="orders.create", owner=alice, state="succeeded", result=1, input={"password": "s3cret"}
    )
    make_job()

    response = post(client, "export", job)

    assert response.streaming
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="jobs-')
    (row,) = exported(response)
    assert (row["id"], row["operation"], row["state"]) == (str(job.pk), "orders.create", "succeeded")
    assert row["owner"] == "alice"
    assert row["created_at"] == job.created_at.isoformat()
    assert (row["object_type"], row["object_id"], row["problem"]) == ("", "", "")
    assert "s3cret" not in str(row)
    assert LogEntry.objects.get().object_repr == "1 job"


def test_an_export_says_what_a_job_is_about_and_why_it_failed(staff, django_assert_num_queries):
    client, note = staff("export_job"), Note.objects.create(slug="a", title="A")
    kind = ContentType.objects.get_for_model(Note)
    about = {"object_type": kind, "object_id": str(note.pk)}
    jobs = [
        make_job(state="failed", problem=problem("failed") | {"code": "card-declined"}, **about)
        for _ in range(3)
    ]
    response = post(client, "export", *jobs)
    with django_assert_num_queries(1):
        rows = exported(response)
    told = {(row["object_type"], row["object_id"], row["problem"]) for row in rows}
    assert told == {("testapp.note", str(note.pk), "card-declined")}


def test_the_log_does_not_claim_to_have_counted_an_export_above_the_cap(staff, monkeypatch):
    monkeypatch.setattr(actions, "CAP", 2)
    jobs = [make_job() for _ in range(3)]
    assert len(exported(post(staff("export_job"), "export", *jobs))) == 3
    assert LogEntry.objects.get().object_repr == "2+ jobs"


@pytest.mark.django_db(transaction=True)
def test_on_asgi_an_export_is_sent_while_it_is_read(request, django_user_model, monkeypatch):
    """Django would make a list of a synchronous one first, and warns of it."""
    monkeypatch.setattr(export, "CHUNK", 2)
    read: list[Job] = []
    post_init.connect(remember := lambda instance, **kwargs: read.append(instance), sender=Job)
    request.addfinalizer(lambda: post_init.disconnect(remember, sender=Job))
    client = AsyncClient()
    jobs = [make_job() for _ in range(7)]

    async def fetch() -> tuple[list[str], int]:
        await client.aforce_login(await django_user_model.objects.acreate_superuser("boss"))
        data = {"action": "export", "_selected_action": [str(job.pk) for job in jobs], "confirmed": "yes"}
        response = await client.post(LIST, data)
        assert response.is_async
        read.clear()
        lines = aiter(response.streaming_content)
        first = [await anext(lines), await anext(lines)]
        so_far = len(read)
        return first + [line async for line in lines], so_far

    lines, so_far = async_to_sync(fetch)()
    rows = list(csv.DictReader(io.StringIO(b"".join(lines).decode("utf-8-sig"))))
    assert {row["id"] for row in rows} == {str(job.pk) for job in jobs}
    assert so_far <= 2


def test_no_cell_is_a_formula(staff):
    texts = ('=HYPERLINK("http://evil")', "+1", "-1", "@SUM(A1)", "\tx", "\rx")
    jobs = [make_job(operation=text, state="running", worker=text, queue=text) for text in texts]
    rows = exported(post(staff("export_job"), "export", *jobs))
    told = {(row["operation"], row["worker"], row["queue"]) for row in rows}
    assert told == {(f"'{text}",) * 3 for text in texts}


def test_an_export_says_what_the_owner_has_deleted(staff):
    client, job, other = staff("export_job"), make_job(state="running"), make_job(state="running")
    Job.objects.filter(pk=job.pk).update(forgotten=True)
    rows = {row["id"]: row["deleted_by_owner"] for row in exported(post(client, "export", job, other))}
    assert rows == {str(job.pk): "yes", str(other.pk): ""}
