import csv
import io
import re
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from async_accept.conf import conf
from async_accept.exceptions import JobCanceled
from async_accept.jobs.attempt import current_attempt
from async_accept.models import Job
from async_accept.testing import run_accepted_jobs
from example_project.shop import fulfilment, orders, payments, tasks
from example_project.shop.batches import MAX_ROWS
from example_project.shop.gateway import Fate
from example_project.shop.models import GatewayCharge, Order, Payment, Product

pytestmark = pytest.mark.urls("example_project.urls")

URL = "/api/orders/bulk/"


def row(reference: str, quantity: int = 1, sku: str = "TEA", **more) -> dict:
    return {"reference": reference, "sku": sku, "quantity": quantity, **more}


@pytest.fixture
def mixed(reference):
    """A batch with one of each outcome."""
    return [
        row(reference(Fate.APPROVED), 3),
        row(reference(Fate.DECLINED), 2),
        row(reference(Fate.SILENT), 4),
        row(reference(Fate.APPROVED), 100),
        row(reference(Fate.APPROVED), sku="NOPE"),
    ]


def outcomes(result) -> list[str]:
    return [entry["outcome"] for entry in result.data["orders"]]


def test_each_order_gets_its_outcome(client, tea, follow, mixed):
    result = follow(client.post(URL, {"orders": mixed}))
    assert outcomes(result) == ["paid", "declined", "paid", "out_of_stock", "rejected"]


def test_sums_agree_with_the_database(client, tea, follow, mixed):
    summary = follow(client.post(URL, mixed)).data["summary"]
    paid = Order.objects.filter(status=Order.Status.PAID)
    captured = Payment.objects.filter(status=Payment.Status.CAPTURED).aggregate(Sum("amount"))["amount__sum"]
    assert summary["paid"] == paid.count() == 2
    assert Decimal(summary["total_amount"]) == captured == paid.aggregate(Sum("total"))["total__sum"]
    assert Product.objects.get().stock == 10 - 3 - 4


def test_what_was_not_paid_comes_as_csv_too(client, tea, follow, mixed):
    result = follow(client.post(URL, mixed))
    lines = list(csv.DictReader(io.StringIO(result.data["errors_csv"])))
    assert [(line["row"], line["outcome"]) for line in lines] == [
        ("2", "declined"),
        ("4", "out_of_stock"),
        ("5", "rejected"),
    ]
    assert len(result.data["errors"]) == 3


@pytest.mark.parametrize(
    "kwargs",
    [
        {"data": "reference,sku,quantity\nA,TEA,1\n", "content_type": "text/csv"},
        {
            "data": {"file": SimpleUploadedFile("o.csv", b"reference,sku,quantity\nA,TEA,1\n")},
            "format": "multipart",
        },
    ],
    ids=["body", "file"],
)
def test_csv_is_accepted(client, tea, follow, kwargs):
    assert follow(client.post(URL, **kwargs)).data["summary"]["orders"] == 1


def test_invalid_batch_is_refused_and_stores_nothing(client, tea):
    response = client.post(URL, [row("A"), row("B", 0)])
    assert response.status_code == 400
    assert response.json()["errors"][0]["row"] == 2
    assert not Job.objects.exists()
    assert not Order.objects.exists()


def test_same_batch_again_changes_nothing(client, tea, follow, mixed):
    first = follow(client.post(URL, mixed))
    second = follow(client.post(URL, mixed))
    assert second.data == first.data
    assert (Order.objects.count(), GatewayCharge.objects.count()) == (4, 3)


def test_known_reference_for_another_order_is_rejected(client, alice, tea, follow):
    orders.place(alice, "A", [(tea, 1)])
    result = follow(client.post(URL, [row("A", 2)]))
    assert outcomes(result) == ["rejected"]
    assert Order.objects.get().status == "placed"


def test_unknown_code_is_rejected_rather_than_charged_in_full(client, tea, follow):
    result = follow(client.post(URL, [row("A", code="NOPE")]))
    assert outcomes(result) == ["rejected"]
    assert not Order.objects.exists()


@pytest.mark.parametrize("step", ["reserve", "discount", "pay"])
def test_second_attempt_resumes_where_the_first_was_lost(alice, tea, reference, monkeypatch, step):
    batch = [row(reference(), code="") for _ in range(4)]
    work = getattr(fulfilment.Batch, step)
    seen = []

    def dies_at_the_third(self, item):
        seen.append(item)
        if len(seen) == 3:
            raise SystemExit
        work(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(fulfilment.Batch, step, dies_at_the_third)
        with pytest.raises(SystemExit):
            tasks.fulfil_orders.run(customer=alice.pk, orders=batch)
    result = tasks.fulfil_orders.run(customer=alice.pk, orders=batch)
    assert result["summary"]["paid"] == 4
    assert (Order.objects.count(), GatewayCharge.objects.count(), Payment.objects.count()) == (4, 4, 4)
    assert Product.objects.get().stock == 6


def test_cancel_keeps_payments_and_releases_the_rest(client, tea, reference, monkeypatch):
    response = client.post(URL, [row(reference()) for _ in range(5)])
    pay = fulfilment.Batch.pay

    def cancel_after_two(self, order):
        if Payment.objects.count() == 2:
            raise JobCanceled
        pay(self, order)

    monkeypatch.setattr(fulfilment.Batch, "pay", cancel_after_two)
    (job,) = run_accepted_jobs(pk=response.data["id"])
    assert job.state == "canceled"
    assert job.progress["message"] == "Canceled: 2 paid orders are kept, the stock of 3 others is released."
    assert Order.objects.filter(status="paid").count() == 2
    assert Product.objects.get().stock == 8


def test_a_canceled_batch_says_what_takes_so_long(client, tea, reference, monkeypatch):
    response = client.post(URL, [row(reference()) for _ in range(2)])
    monkeypatch.setattr(fulfilment.Batch, "pay", lambda *args: (_ for _ in ()).throw(JobCanceled))
    monkeypatch.setattr(
        fulfilment.Batch, "release", lambda self: said.append(current_attempt().progress.message) or (0, 2)
    )
    said = []
    (job,) = run_accepted_jobs(pk=response.data["id"])
    assert said == ["Giving back the stock …"]
    # As far as it came, and no further.
    assert (job.state, job.progress["percent"]) == ("canceled", 40.0)


def test_stock_of_many_orders_is_given_back_in_few_transactions(alice, tea, reference, monkeypatch):
    batch = fulfilment.Batch(alice, [row(reference()) for _ in range(5)])
    for one in batch.rows:
        batch.reserve(one)
    monkeypatch.setattr(payments, "_CHUNK", 3)
    with CaptureQueriesContext(connection) as asked:
        assert batch.release() == (0, 5)
    began = [query["sql"] for query in asked if query["sql"].startswith("SAVEPOINT")]
    assert len(began) == 2
    assert Product.objects.get().stock == 10


def test_canceled_orders_can_be_sent_again(alice, tea, reference):
    batch = fulfilment.Batch(alice, [row(reference())])
    batch.reserve(batch.rows[0])
    payments.release(Order.objects.get())
    result = tasks.fulfil_orders.run(customer=alice.pk, orders=[row(batch.rows[0].reference)])
    assert result["summary"]["paid"] == 1
    assert (Order.objects.get().placing, Product.objects.get().stock) == (2, 9)


def test_wordiest_result_of_the_largest_batch_can_be_kept(client, tea, follow):
    """Nothing is sold here, so each row appears three times: among orders, errors, and in the CSV."""
    rows = [row(f"{number:064}", 1000, sku="S" * 32, code="C" * 32) for number in range(MAX_ROWS)]
    result = follow(client.post(URL, rows))
    assert result.status_code == 200
    assert len(result.content) < conf.MAX_RESULT_BYTES


def test_the_browsable_api_offers_a_form_for_a_file(client):
    page = client.get("/api/orders/bulk/", HTTP_ACCEPT="text/html").content.decode()
    (field,) = re.findall(r'<input[^>]*name="file"[^>]*>', page)
    assert 'type="file"' in field
    assert re.search(r'<textarea[^>]*name="csv"', page)
    fields = client.options("/api/orders/bulk/").data["actions"]["POST"]
    assert list(fields) == ["file", "csv"]
