import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from example_project.shop.batches import (
    MAX_BYTES,
    MAX_ROWS,
    BatchTooLarge,
    CSVParser,
    InvalidRows,
    read_batch,
)

ROW = {"reference": "A-1", "sku": "TEA", "quantity": 2}
EXPECTED = [{**ROW, "code": ""}]


def read(body, kind: str = "json"):
    request = APIRequestFactory().post(
        "/", body, **({"format": kind} if kind != "csv" else {"content_type": "text/csv"})
    )
    return read_batch(Request(request, parsers=[JSONParser(), CSVParser(), MultiPartParser()]))


def upload(content: bytes):
    return read({"file": SimpleUploadedFile("orders.csv", content)}, "multipart")


@pytest.mark.parametrize("body", [[ROW], {"orders": [ROW]}, {"orders": [{**ROW, "code": None}]}])
def test_json_is_a_list_or_an_object(body):
    assert read(body) == EXPECTED


@pytest.mark.parametrize(
    "content",
    [
        "reference,sku,quantity\nA-1,TEA,2\n",
        "\ufeffReference;SKU;Quantity;Code\r\nA-1;TEA;2;\r\n",
        "quantity,other,sku,reference\n2,x,TEA,A-1\n\n,,,\n",
    ],
)
def test_csv_is_taken_as_people_write_it(content):
    assert read(content, "csv") == EXPECTED
    assert upload(content.encode()) == EXPECTED


@pytest.mark.parametrize("body", [[], {}, {"orders": "x"}, {"orders": []}, "text", 5])
def test_batch_without_orders_is_refused(body):
    with pytest.raises(ValidationError):
        read(body)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({**ROW, "quantity": 0}, "quantity"),
        ({**ROW, "quantity": "many"}, "quantity"),
        ({**ROW, "reference": "=cmd()"}, "reference"),
        ({**ROW, "sku": ""}, "sku"),
        ({"reference": "B", "sku": "TEA"}, "quantity"),
        ("A-1,TEA,2", "non_field_errors"),
    ],
)
def test_wrong_row_is_named(row, field):
    with pytest.raises(InvalidRows) as caught:
        read([{**ROW, "reference": "first"}, row])
    (error,) = caught.value.detail["errors"]
    assert (error["row"], error["field"]) == (2, field)


def test_reference_twice_in_a_batch_is_refused_with_both_rows():
    with pytest.raises(InvalidRows) as caught:
        read([ROW, {**ROW, "reference": "B"}, ROW])
    assert [error["row"] for error in caught.value.detail["errors"]] == [1, 3]


def test_long_list_of_mistakes_is_cut():
    with pytest.raises(InvalidRows) as caught:
        read([{}] * 50)
    assert len(caught.value.detail["errors"]) == 100
    assert caught.value.detail["errors_left_out"] == 50


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"sku,quantity\nTEA,2\n", "reference"), (b"\xff\xfe\x00", "UTF-8"), (b"", "reference")],
)
def test_file_that_is_no_such_csv_is_refused(content, words):
    with pytest.raises(ValidationError, match=words):
        upload(content)


def test_form_without_a_file_is_refused():
    with pytest.raises(ValidationError, match="Choose a CSV file"):
        read({"other": "x"}, "multipart")


def test_too_many_rows_are_refused():
    with pytest.raises(BatchTooLarge):
        read([ROW] * (MAX_ROWS + 1))


@pytest.mark.parametrize("send", [upload, lambda content: read(content.decode(), "csv")])
def test_too_many_bytes_are_refused(send):
    with pytest.raises(BatchTooLarge):
        send(b"reference,sku,quantity\n" + b"x" * MAX_BYTES)
