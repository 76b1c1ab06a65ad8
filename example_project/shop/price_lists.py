"""Import a supplier's price list: a large file that is never in memory as a whole.

There are three stages: compute the checksum and count the lines; check each line; store the file, and the report of the
rejected lines, in Django's storage. The row has the job's id as its key, so a second attempt finds what the first one
has stored.
"""

import hashlib
import math
import tempfile
from collections.abc import Iterator
from uuid import uuid4

from django.contrib.auth.models import AbstractBaseUser
from django.core.files.base import File

from async_accept.progress import current_job, track

from .models import PriceList
from .price_checks import LINE_BYTES, Check, read_header

__all__ = ["import_list"]


def import_list(customer: AbstractBaseUser, file: File) -> PriceList:
    """Check a price list, and store it with the report of its rejected lines.

    Raises:
        InvalidHeader: the first line does not name the columns. Nothing is stored.
        JobCanceled: the job is canceled. Nothing is stored.
    """
    job = current_job()
    key, attempt = (job.pk, job.attempt) if job else (uuid4(), 1)
    known = PriceList.objects.filter(key=key).first()
    if known is not None:
        return known
    sha256, line_ends = _read_through(file)
    with tempfile.TemporaryFile() as report:
        check = Check(read_header(file), report)
        for number, line in track(_lines(file), "Checking lines", line_ends, weight=0.7, unit="lines"):
            check.line(number, line)
        check.close()
        found = PriceList(
            customer=customer,
            key=key,
            name=str(file.name)[:200],
            size_bytes=file.size,
            sha256=sha256,
            lines=check.lines,
            rejected=check.rejected,
            first_rejects=check.first_rejects,
            offers=check.offers(),
        )
        return _store(found, attempt, file, File(report) if check.rejected else None)


def _read_through(file: File) -> tuple[str, int]:
    """Return the SHA-256 checksum of the file, and the number of its line ends."""
    digest, line_ends = hashlib.sha256(), 0
    for block in _blocks(file, "Checksum", weight=0.1):
        digest.update(block)
        line_ends += block.count(b"\n")
    return digest.hexdigest(), line_ends


def _store(found: PriceList, attempt: int, file: File, report: File | None) -> PriceList:
    """Store the files and the row. Delete files of earlier attempts, and its own if it fails or is stopped."""
    for earlier in range(1, attempt):
        found.discard(earlier)
    try:
        found.store(attempt, ReportingFile(file), report)
        kept, created = PriceList.objects.get_or_create(key=found.key, defaults=found.columns())
    except BaseException:
        found.discard(attempt)
        raise
    if not created:  # an earlier attempt was still running, although it seemed lost, and stored its files
        found.discard(attempt)
    return kept


class ReportingFile(File):
    """A file that reports progress while a storage reads it."""

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        return _blocks(self, "Storing the file", weight=0.2)


def _blocks(file: File, stage: str, weight: float) -> Iterator[bytes]:
    """Yield the file in blocks of about a megabyte (a kilobyte if it is small), and report the progress."""
    unit_bytes, unit = (1_000_000, "MB") if file.size >= 1_000_000 else (1_000, "kB")
    count = max(round(file.size / unit_bytes), 1)
    block_bytes = math.ceil(file.size / count)
    file.seek(0)
    return track(iter(lambda: file.read(block_bytes), b""), stage, count, weight=weight, unit=unit)


def _lines(file: File) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its number, from 1 on. Of a line that is too long, yield only the beginning."""
    file.seek(0)
    number = 0
    while line := file.readline(LINE_BYTES):
        number += 1
        yield number, line
        while len(line) == LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(LINE_BYTES)
