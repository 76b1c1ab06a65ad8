"""Read a batch of orders from a request, and check it before it is accepted.

This checks the form of the rows only, so it is quick and needs no lock. The worker finds out whether a product exists
and a payment succeeds; that is part of the result.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

__all__ = [
    "COLUMNS",
    "MAX_BYTES",
    "MAX_ROWS",
    "BatchSerializer",
    "BatchTooLarge",
    "CSVParser",
    "InvalidRows",
    "OrderRow",
    "read_batch",
]

# The longest result of a batch with this many rows is shorter than async_accept's MAX_RESULT_BYTES. Otherwise a batch
# could fail after its payments were made.
MAX_ROWS = 1_000
MAX_BYTES = 500_000
COLUMNS = ("reference", "sku", "quantity", "code")

# A 400 shows this many errors at most.
_SHOWN_ERRORS = 100
# A cell that begins so is no formula to a spreadsheet. So the CSV of errors is safe to open there.
_NAME = r"\A[A-Za-z0-9][A-Za-z0-9._/-]*\Z"


class BatchTooLarge(APIException):
    """413: the batch is too large."""

    status_code = 413
    default_code = "batch_too_large"
    default_detail = f"A batch has at most {MAX_BYTES:,} bytes and {MAX_ROWS:,} orders. Send it in parts."


class InvalidRows(ValidationError):
    """400: some rows are not valid. Rows are counted from 1; the header of a CSV file is not counted."""

    def __init__(self, errors: list[dict[str, Any]], rows: int) -> None:
        bad = len({error["row"] for error in errors})
        # ValidationError.__init__() would turn the row numbers into strings.
        self.detail = {
            "detail": f"{bad} of {rows} orders are not valid, so none was accepted.",
            "errors": errors[:_SHOWN_ERRORS],
            "errors_left_out": max(len(errors) - _SHOWN_ERRORS, 0),
        }


class CSVParser(BaseParser):
    """Parses a body of type text/csv into rows."""

    media_type = "text/csv"

    def parse(self, stream, media_type=None, parser_context=None) -> list[dict[str, Any]]:
        return _csv_rows(stream.read(MAX_BYTES + 1))


class OrderRow(serializers.Serializer):
    """One row of a batch: an order of one product."""

    reference = serializers.RegexField(_NAME, max_length=64)
    sku = serializers.RegexField(_NAME, max_length=32)
    quantity = serializers.IntegerField(min_value=1, max_value=1000)
    code = serializers.RegexField(_NAME, max_length=32, required=False, allow_blank=True, allow_null=True)

    default_error_messages = {"invalid": "An order is an object with reference, sku and quantity."}


class BatchSerializer(serializers.Serializer):
    """A batch of orders. A bare list of them is taken as well; the schema tells of the object alone.

    openapi-python-client cannot send a list where another media type is possible.
    """

    orders = OrderRow(many=True, allow_empty=False, max_length=MAX_ROWS)


def read_batch(request: Request) -> list[dict[str, Any]]:
    """Return the orders in a request.

    The body is JSON (a list, or an object with the list `orders`), CSV, or a form with a file `file` or a text `csv`.

    Raises:
        InvalidRows, ValidationError: the batch is malformed (400). The client should correct it and send it again.
        BatchTooLarge: the batch has too many rows or bytes (413). The client should send it in parts.
    """
    rows = _rows(request)
    if not isinstance(rows, list) or not rows:
        raise ValidationError({"orders": ["Send a list of at least one order."]})
    if len(rows) > MAX_ROWS:
        raise BatchTooLarge
    checked = [OrderRow(data=row) for row in rows]
    errors = [error for number, row in enumerate(checked, 1) for error in _errors(number, row)]
    orders = [
        {**row.validated_data, "code": row.validated_data.get("code") or ""}
        for row in checked
        if not row.errors
    ]
    if not errors:
        errors = list(_repeats(orders))
    if errors:
        raise InvalidRows(errors, len(rows))
    return orders


def _rows(request: Request) -> Any:
    uploaded = request.FILES.get("file")
    if uploaded is not None:
        if uploaded.size > MAX_BYTES:
            raise BatchTooLarge
        return _csv_rows(uploaded.read())
    if isinstance(request.data, list):
        return request.data
    if hasattr(request.data, "getlist"):  # a form
        if request.data.get("csv"):
            return _csv_rows(request.data["csv"].encode())
        raise ValidationError({"file": ["Choose a CSV file."]})
    return request.data.get("orders") if isinstance(request.data, dict) else None


def _csv_rows(content: bytes) -> list[dict[str, Any]]:
    """Return the rows of a CSV file. It may have a byte order mark, semicolons and empty lines."""
    if len(content) > MAX_BYTES:
        raise BatchTooLarge
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValidationError({"file": [f"The CSV must be UTF-8; byte {error.start} is not."]}) from None
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if ";" in header else ",")
    try:
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
        missing = [name for name in COLUMNS[:3] if name not in reader.fieldnames]
        if missing:
            raise ValidationError(
                {"file": [f"The first line must name the columns; missing: {', '.join(missing)}."]}
            )
        return [
            {name: (row.get(name) or "").strip() for name in COLUMNS}
            for row in reader
            if any(value and value.strip() for name, value in row.items() if name)
        ]
    except csv.Error as error:
        raise ValidationError({"file": [f"Line {reader.line_num} is not CSV: {error}."]}) from None


def _errors(number: int, row: OrderRow) -> Iterator[dict[str, Any]]:
    if not row.is_valid():
        for field, messages in row.errors.items():
            for message in messages:
                yield {"row": number, "field": field, "message": str(message)}


def _repeats(orders: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield an error for each row whose reference is in the batch more than once."""
    seen = Counter(order["reference"] for order in orders)
    for number, order in enumerate(orders, 1):
        if seen[order["reference"]] > 1:
            yield {
                "row": number,
                "field": "reference",
                "message": "This reference is in the batch more than once.",
            }
