import hashlib
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from async_accept.exceptions import JobCanceled
from async_accept.jobs.attempt import observed
from async_accept.models import Job
from async_accept.testing import assert_accepted, run_accepted_jobs
from example_project.shop import price_lists
from example_project.shop.models import PriceList
from example_project.shop.price_checks import LINE_BYTES

pytestmark = pytest.mark.urls("example_project.urls")

URL = "/api/imports/"
HEADER = "sku,name,price\n"


@pytest.fixture(autouse=True)
def media(settings, tmp_path) -> Path:
    settings.MEDIA_ROOT = str(tmp_path / "media")
    return tmp_path / "media"


def files(media: Path) -> list[str]:
    """What the shop keeps; uploads on their way are the package's, which removes them."""
    return sorted(path.name for path in media.glob("price-lists/*/*"))


def send(client, content: str | bytes, name: str = "prices.csv", **headers):
    content = content.encode() if isinstance(content, str) else content
    return client.post(URL, {"file": SimpleUploadedFile(name, content)}, format="multipart", headers=headers)


def test_result_is_the_201_of_what_was_found(client, tea, follow):
    content = HEADER + "TEA,Assam,2.10\nTEA,Darjeeling,1.95\nOTHER,Soap,3\n\nbad sku,Mug,1\n"
    result = follow(send(client, content))
    assert (result.status_code, result["Location"]) == (201, result.data["url"])
    assert (result.data["lines"], result.data["rejected"]) == (4, 1)
    assert result.data["sha256"] == hashlib.sha256(content.encode()).hexdigest()
    assert result.data["offers"] == [
        {"sku": "TEA", "name": "Tea", "our_price": "2.50", "best_offer": "1.95", "offers": 2}
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"no sku,Tea,1", "no valid SKU"),
        (b",Tea,1", "no valid SKU"),
        (b"TEA,,1", "no name"),
        (b"TEA,Tea,", "the price is no number such as 4.25"),
        (b"TEA,Tea,4 EUR", "the price is no number such as 4.25"),
        (b"TEA,Tea,1e9", "the price is no number such as 4.25"),
        (b"TEA,Tea", "a column is missing"),
        (b'TEA,"Tea,1', "not CSV"),
        (b"TEA,T\xe9,1", "not UTF-8"),
        (b"TEA,%b,1" % (b"x" * LINE_BYTES), "the line is too long"),
    ],
)
def test_faulty_line_is_rejected_with_its_reason_and_no_other(client, tea, follow, line, reason):
    result = follow(send(client, HEADER.encode() + line + b"\nTEA,Tea,1\n"))
    assert [(found["line"], found["reason"]) for found in result.data["first_rejects"]] == [(2, reason)]
    assert (result.data["lines"], result.data["offers"][0]["offers"]) == (2, 1)


def test_spreadsheets_way_of_csv_is_understood(client, tea, follow):
    result = follow(send(client, b'\xef\xbb\xbf"Name";"SKU";"Price"\r\n"Tea, green";TEA;1.50\r\n'))
    assert result.data["rejected"] == 0
    assert result.data["offers"][0]["best_offer"] == "1.50"


def test_file_and_report_are_kept_and_can_be_fetched(client, tea, follow, media):
    content = HEADER + "=cmd(),Tea,1\n"
    result = follow(send(client, content, name="../a b.csv"))
    assert files(media) == ["list.csv", "rejected.csv"]
    file = client.get(result.data["file_url"])
    assert file.getvalue().decode() == content
    assert file["Content-Disposition"] == 'attachment; filename="a b.csv"'
    report = client.get(result.data["report_url"])
    assert report.getvalue().decode() == 'line,reason,text\n2,no valid SKU,"\'=cmd(),Tea,1"\n'


def test_without_rejects_there_is_no_report(client, tea, follow, media):
    result = follow(send(client, HEADER + "TEA,Tea,1\n"))
    assert result.data["report_url"] is None
    assert client.get(result.data["url"] + "report/").status_code == 404
    assert files(media) == ["list.csv"]


def test_another_customers_list_does_not_exist(client, bob, follow, tea):
    result = follow(send(client, HEADER + "TEA,Tea,1\n"))
    other = APIClient()
    other.force_authenticate(bob)
    for url in (result.data["url"], result.data["file_url"]):
        assert other.get(url).status_code == 404
    assert other.get(URL).data == []


def test_deleting_removes_the_files(client, follow, media, tea, django_capture_on_commit_callbacks):
    result = follow(send(client, HEADER + "x\n"))
    with django_capture_on_commit_callbacks(execute=True):
        assert client.delete(result.data["url"]).status_code == 204
    assert files(media) == []
    assert not PriceList.objects.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"a,b,c\nTEA,Tea,1\n", b"\xff\xfe\x00", b"sku,name\n"],
    ids=["empty", "names", "utf16", "price"],
)
def test_file_without_the_columns_is_refused_at_once(client, content, media):
    response = send(client, content)
    assert response.status_code == 400
    assert "file" in response.data
    assert not Job.objects.exists()
    assert files(media) == []


def test_too_large_a_file_is_refused(client, settings):
    settings.IMPORT_MAX_BYTES = 1000
    assert send(client, HEADER + "x" * 1000).status_code == 413
    assert not Job.objects.exists()


def test_same_key_and_file_give_the_same_job(client, tea):
    key = {"idempotency-key": '"once"'}
    first, second = (send(client, HEADER + "TEA,Tea,1\n", **key) for _ in range(2))
    assert assert_accepted(first) == assert_accepted(second)
    assert send(client, HEADER + "TEA,Tea,2\n", **key).status_code == 422


def test_cancel_keeps_nothing(client, tea, media, monkeypatch):
    response = send(client, HEADER + "TEA,Tea,1\n")

    def stopped(*args, **kwargs):
        raise JobCanceled

    monkeypatch.setattr(price_lists, "_blocks", stopped)
    (job,) = run_accepted_jobs(pk=response.data["id"])
    assert job.state == "canceled"
    assert files(media) == []
    assert not PriceList.objects.exists()


def test_failure_while_keeping_leaves_no_file(alice, media, tea, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(PriceList.objects, "get_or_create", full)
    with pytest.raises(OSError, match="no space"):
        price_lists.import_list(alice, SimpleUploadedFile("x.csv", HEADER.encode()))
    assert files(media) == []


def test_second_attempt_finds_what_the_first_has_finished(client, alice, tea, follow, media, monkeypatch):
    response = send(client, HEADER + "TEA,Tea,1\n")
    job = assert_accepted(response)
    list_ = PriceList(customer=alice, key=job.pk, name="first", size_bytes=1, lines=1, rejected=0)
    list_.store(1, SimpleUploadedFile("x", b"x"), None)
    list_.save()
    assert follow(response).data["name"] == "first"
    assert files(media) == ["list.csv"]


def test_later_attempt_clears_up_after_a_lost_one(client, alice, tea, follow, media):
    response = send(client, HEADER + "TEA,Tea,1\n")
    job = assert_accepted(response)
    PriceList(key=job.pk).store(1, SimpleUploadedFile("x", b"half"), None)
    Job.objects.filter(pk=job.pk).update(attempt=1)
    assert follow(response).data["lines"] == 1
    assert PriceList.objects.get().file.name == f"price-lists/{job.pk.hex}-2/list.csv"
    assert files(media) == ["list.csv"]


@pytest.mark.parametrize(
    ("size_bytes", "shown"), [(31, "1 of 1 kB"), (10_400, "10 of 10 kB"), (2_000_008, "2 of 2 MB")]
)
def test_progress_counts_the_size_that_the_file_has(client, tea, settings, size_bytes, shown):
    settings.IMPORT_MAX_BYTES = 3_000_000
    content = HEADER.encode() + b"TEA,Tea,1\n"
    job = assert_accepted(send(client, content + b"x" * (size_bytes - len(content))))
    seen = []
    with observed(lambda attempt: seen.append(attempt.progress.snapshot().get("progress"))):
        run_accepted_jobs(pk=job.pk)
    counts = ["{current:g} of {total:g} {unit}".format(**step) for step in seen if step]
    assert counts[-1] == shown


def test_shipped_sample_has_good_and_faulty_lines(client, follow, tea):
    sample = Path(price_lists.__file__).parent / "static/shop/price-list.csv"
    result = follow(send(client, sample.read_bytes()))
    assert 0 < result.data["rejected"] < result.data["lines"] / 4
