"""Contract 9, 11, 15, 18: the list of jobs, its filters and its pages."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from async_accept.models import Job
from async_accept.testing import make_job
from tests.contract.conftest import ACTIVE, ENDED, url

pytestmark = pytest.mark.django_db(transaction=True)


def listed(client, query: str) -> set[str]:
    response = client.get(f"/api/jobs/?{query}")
    assert response.status_code == 200, response.text
    return {item["id"] for item in response.json()["results"]}


def test_own_jobs_newest_first(job, alice, bob):
    """Contract 9, 18: each as its monitor shows it; no other's, and none that its owner has deleted."""
    made = [str(job(state).pk) for state in ("accepted", "failed", "running")]
    job("running", forgotten=True)
    his = make_job("tests.testapp.tasks.add", owner=get_user_model().objects.get(username="bob"))
    items = alice.get("/api/jobs/").json()["results"]
    assert [item["id"] for item in items] == made[::-1]
    for item in items:
        assert alice.get(item["url"]).json() == item
    for query in ("", "status=running,accepted", "page_size=200"):
        assert listed(bob, query) == {str(his.pk)}


def test_it_is_read_only(alice):
    """Contract 11: POST is 405."""
    assert alice.post("/api/jobs/", {}).status_code == 405


# --- Filters ----------


def test_filters_are_combined_and_whole(job, alice):
    """Contract 9: every filter narrows; an operation is named in full."""
    one = job("failed", operation="sums.add")
    job("failed", operation="sums.add.more")
    job("running", operation="sums.add")
    assert listed(alice, "operation=sums.add&status=failed") == {str(one.pk)}
    assert listed(alice, "operation=sums") == set()
    if connection.vendor != "mysql":  # whose usual collations ignore the case
        assert listed(alice, "operation=SUMS.ADD") == set()
    assert len(listed(alice, "status=failed,running,canceled")) == 3
    assert len(listed(alice, "unknown=1")) == 3


def test_every_status_is_found_by_its_name(job, alice):
    """Contract 9: the same spelling everywhere."""
    made = {state: str(job(state).pk) for state in (*ACTIVE, *ENDED)}
    for state, pk in made.items():
        assert listed(alice, f"status={state}") == {pk}
        assert Job.objects.get(pk=pk).state == state


def test_times_are_from_and_before(job, alice):
    """Contract 9: ``created_after`` includes its moment, ``created_before`` does not."""
    made = job("failed")
    moment = made.created_at
    step = timedelta(microseconds=1)
    pk = {str(made.pk)}
    for name, at, found in [
        ("created_after", moment, pk),
        ("created_after", moment + step, set()),
        ("created_before", moment, set()),
        ("created_before", moment + step, pk),
    ]:
        assert listed(alice, f"{name}={at.isoformat().replace('+', '%2B')}") == found, (name, at)


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-04T03:02:01Z",
        "2026-05-04t03:02:01z",
        "2026-05-04t03:02:01Z",
        "2026-05-04T03:02:01z",
        "2026-05-04 03:02:01z",
        "2026-05-04T03:02:01.000000000z",
        "2026-05-04T03:02:00.9999999Z",
        "2026-05-04T03:02:01-00:00",
        "2026-05-04T05:02:01+02:00",
        "2026-05-04t05:02:01%2b02:00",
        "2026-05-04 05:02:01+02:00",
        "2026-05-04T03:01:60Z",
        "2026-05-04t03:01:60.5z",
    ],
)
def test_every_spelling_of_a_time(job, alice, text):
    """Contract 9: RFC 3339 has lower case, a space for ``T``, long fractions and leap seconds."""
    moment = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    found = job("failed", created_at=moment)
    job("failed", created_at=moment - timedelta(seconds=30))
    response = alice.get(f"/api/jobs/?created_after={text}")
    assert response.status_code == 200, response.text
    assert [item["id"] for item in response.json()["results"]] == [str(found.pk)]


@pytest.mark.parametrize(
    "query",
    [
        "status=nonsense",
        "status=%00",
        "status=failed,",
        "operation=%00",
        "created_after=yesterday",
        "created_after=%00",
        "created_before=2026-02-30T00:00:00Z",
        "created_before=2026-02-28T24:00:00Z",
        "created_before=2026-02-28T23:59:61Z",
        "created_before=2026-02-28T23:59:59%2b24:00",
        "created_before=9999-12-31T23:59:60Z",
        "created_before=0001-01-01T00:00:00%2B23:59",
        "created_after=9999-12-31T23:59:59-23:59",
    ],
)
def test_bad_filters_are_400(job, alice, query):
    """Contract 15: a bad filter is a problem with the field's error."""
    job("failed")
    response = alice.get(f"/api/jobs/?{query}")
    assert response.status_code == 400, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert query.split("=")[0] in response.json()["errors"]


# --- Pages ----------


def test_pages(alice):
    """Contract 9: 50 a page, up to 200 if asked; pages keep their filters, and lead forth and back."""
    owner = get_user_model().objects.get(username="alice")
    made = Job.objects.bulk_create(
        Job(owner=owner, operation="a.b", task="t", dispatch_at=timezone.now()) for _ in range(210)
    )
    assert len(listed(alice, "")) == 50
    assert len(listed(alice, "page_size=100000")) == 200
    first = alice.get("/api/jobs/?operation=a.b&status=accepted&page_size=3").json()
    assert set(first) >= {"next", "previous", "results"}
    assert first["previous"] is None
    second = alice.get(first["next"]).json()
    assert "operation=a.b" in first["next"]
    ids = [item["id"] for item in first["results"] + second["results"]]
    assert ids == sorted((str(job.pk) for job in made), reverse=True)[:6]
    back = alice.get(second["previous"]).json()
    assert back["results"] == first["results"]


def test_the_pages_have_every_job_once(job, alice):
    """Contract 9: from the first page to the last."""
    made = [str(job("accepted").pk) for _ in range(5)]
    page = alice.get("/api/jobs/?page_size=2").json()
    seen = [item["id"] for item in page["results"]]
    while page["next"]:
        page = alice.get(page["next"]).json()
        seen += [item["id"] for item in page["results"]]
    assert seen == made[::-1]


def test_a_page_holds_its_place(job, alice):
    """Contract 9: a cursor is a place, not a number: what comes or goes meanwhile shifts nothing."""
    old = [str(job("failed").pk) for _ in range(4)]
    page = alice.get("/api/jobs/?page_size=2").json()
    job("running")
    alice.delete(url(old[3]))
    rest = alice.get(page["next"]).json()["results"]
    assert [item["id"] for item in rest] == [old[1], old[0]]


def test_bad_pages_are_no_500(job, alice):
    """Contract 11, 15: cursors and sizes that nobody gave out."""
    job("failed")
    for query in (
        "cursor=cD1ub25zZW5zZQ==",  # p=nonsense
        "cursor=cD0lMDA=",  # p=%00
        "cursor=bz0tMQ==",  # o=-1
        "cursor=bz05OTk5OTk5OTk5OTk5OTk5OTk5OTk5",  # o=9999…
        "page_size=0",
        "page_size=9999999",
    ):
        response = alice.get(f"/api/jobs/?{query}")
        assert response.status_code in (200, 400, 404), response.text[-2000:]
        if response.status_code != 200:
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.json()["code"] in ("not-found", "invalid")
