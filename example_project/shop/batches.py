"""What a client sends for many orders at once, read and checked before anything is accepted.

Only the form is checked here, so it is quick and needs no lock. Whether a product exists or a card is good
is found out by the work itself, and is part of its result.
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

__all__ = ["COLUMNS", "MAX_BYTES", "MAX_ROWS", "BatchTooLarge", "CSVParser", "InvalidRows", "read_batch"]

# So many that even the wordiest result stays below the package's MAX_RESULT_BYTES: a batch that is paid for
# must not fail on its report.
MAX_ROWS = 1_000
MAX_BYTES = 500_000
COLUMNS = ("reference", "sku", "quantity", "code")

# Of very long lists of mistakes the first are enough to begin with.
_SHOWN_ERRORS = 100
# These cannot start a formula in a spreadsheet, so the error CSV is safe to open in one.
_NAME = r"\A[A-Za-z0-9][A-Za-z0-9._/-]*\Z"


class BatchTooLarge(APIException):
    """413: more than one batch may hold."""

    status_code = 413
    default_code = "batch_too_large"
    default_detail = f"A batch has at most {MAX_BYTES:,} bytes and {MAX_ROWS:,} orders. Send it in parts."


class InvalidRows(ValidationError):
    """400: what is wrong, by row; rows are counted from 1, without a CSV file's header."""

    def __init__(self, errors: list[dict[str, Any]], rows: int) -> None:
        bad = len({error["row"] for error in errors})
        # Not through ValidationError: it would turn the row numbers into strings.
        self.detail = {
            "detail": f"{bad} of {rows} orders are not valid, so none was accepted.",
            "errors": errors[:_SHOWN_ERRORS],
            "errors_left_out": max(len(errors) - _SHOWN_ERRORS, 0),
        }


class CSVParser(BaseParser):
    """Body of type text/csv, as rows."""

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


def read_batch(request: Request) -> list[dict[str, Any]]:
    """The orders in a request: JSON (a list, or an object with `orders`), CSV, a form's CSV file `file` or text `csv`.

    Raises: InvalidRows or ValidationError (400) for what is malformed, BatchTooLarge (413); the client
    should mend the rows that are named and send the batch again.
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
    """Rows of a CSV file as people have them: a byte order mark, semicolons and empty lines are fine."""
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
    """One reference twice in a batch: which of the two would be meant?"""
    seen = Counter(order["reference"] for order in orders)
    for number, order in enumerate(orders, 1):
        if seen[order["reference"]] > 1:
            yield {
                "row": number,
                "field": "reference",
                "message": "This reference is in the batch more than once.",
            }
