"""Check a supplier's price list, line by line.

A mistake in one line rejects only that line. So a quoted field cannot contain a line break.
"""

import csv
import re
from dataclasses import dataclass
from decimal import Decimal
from io import TextIOWrapper
from typing import IO, Any

from django.core.files.base import File

from .models import Product

__all__ = ["COLUMNS", "LINE_BYTES", "Check", "Header", "InvalidHeader", "read_header"]

COLUMNS = ("sku", "name", "price")
# Longer lines are rejected. They are not read to their end, so that they do not fill the memory.
LINE_BYTES = 4_000

# The result shows this many rejected lines. The report has all of them.
_SHOWN_REJECTS = 20
_SKU = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,31}")
_PRICE = re.compile(r"[0-9]{1,8}(\.[0-9]{1,2})?")
# A spreadsheet runs a cell that begins so as a formula (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class InvalidHeader(ValueError):
    """The first line does not name the columns. The client sees the message."""


class Rejected(Exception):
    """A line is not valid. The message says why."""


@dataclass(frozen=True)
class Header:
    """The order of the columns in this file."""

    delimiter: str
    places: tuple[int, ...]

    def cells(self, line: str) -> list[str]:
        """Return the cells of a line, in the order of COLUMNS.

        Raises:
            Rejected: the line is not valid.
        """
        try:
            row = next(csv.reader([line], delimiter=self.delimiter, strict=True), [])
        except csv.Error:
            raise Rejected("not CSV") from None
        if len(row) <= max(self.places):
            raise Rejected("a column is missing")
        return [row[place].strip() for place in self.places]


def read_header(file: File) -> Header:
    """Read the first line, and go back to the beginning of the file. This is quick enough for a request.

    Raises:
        InvalidHeader: the first line does not name the columns.
    """
    file.seek(0)
    line = file.readline(LINE_BYTES)
    file.seek(0)
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidHeader(f"The file must be UTF-8; byte {error.start} is not.") from None
    delimiter = ";" if ";" in text else ","
    names = [name.strip(' "\r\n').lower() for name in text.split(delimiter)]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise InvalidHeader(f"The first line must name the columns; missing: {', '.join(missing)}.")
    return Header(delimiter, tuple(names.index(name) for name in COLUMNS))


class Check:
    """Checks the lines of a price list. Writes the rejected lines to *report*, as CSV."""

    def __init__(self, header: Header, report: IO[bytes]) -> None:
        self.header = header
        self.lines = self.rejected = 0
        self.first_rejects: list[dict[str, Any]] = []
        self._products = {product.sku: product for product in Product.objects.all()}
        # By SKU, for the products that we sell: the best price in the list, and the number of prices.
        self._best: dict[str, tuple[Decimal, int]] = {}
        self._text = TextIOWrapper(report, "utf-8", newline="")
        self._report = csv.writer(self._text, lineterminator="\n")
        self._report.writerow(["line", "reason", "text"])

    def line(self, number: int, line: bytes) -> None:
        """Check one line. Line 1 is the header; it and empty lines are not counted."""
        if number == 1 or not line.strip():
            return
        self.lines += 1
        try:
            sku, price = self._read(line)
        except Rejected as reason:
            self._reject(number, str(reason), line)
            return
        if sku in self._products:
            best, count = self._best.get(sku, (price, 0))
            self._best[sku] = min(best, price), count + 1

    def offers(self) -> list[dict[str, Any]]:
        """Return the best offer for each product that we sell."""
        return [
            {
                "sku": sku,
                "name": product.name,
                "our_price": str(product.price),
                "best_offer": f"{self._best[sku][0]:.2f}",
                "offers": self._best[sku][1],
            }
            for sku, product in self._products.items()
            if sku in self._best
        ]

    def close(self) -> None:
        """Finish the report. Its file stays open."""
        self._text.detach()

    def _read(self, line: bytes) -> tuple[str, Decimal]:
        if len(line) >= LINE_BYTES:
            raise Rejected("the line is too long")
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise Rejected("not UTF-8") from None
        sku, name, price = self.header.cells(text)
        if not _SKU.fullmatch(sku):
            raise Rejected("no valid SKU")
        if not name:
            raise Rejected("no name")
        if not _PRICE.fullmatch(price):
            raise Rejected("the price is no number such as 4.25")
        return sku, Decimal(price)

    def _reject(self, number: int, reason: str, line: bytes) -> None:
        self.rejected += 1
        text = line.decode(errors="replace").strip().replace("\0", "\ufffd")[:200]
        if len(self.first_rejects) < _SHOWN_REJECTS:
            self.first_rejects.append({"line": number, "reason": reason, "text": text})
        self._report.writerow([number, reason, f"'{text}" if text.startswith(_FORMULA) else text])
