"""Jobs as CSV, one line at a time."""

import csv
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, cast

from ..db.clock import aware
from ..models import Job
from ..querysets import JobQuerySet

__all__ = ["async_csv_lines", "csv_lines"]

#: If a cell begins with one of these, a spreadsheet takes it for a formula
#: (https://owasp.org/www-community/attacks/CSV_Injection).
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Echo:
    """A file whose ``write()`` returns what is written: ``csv`` needs a file, and we need the line."""

    def write(self, value: str) -> str:
        return value


#: The columns, and the value of each.
COLUMNS: dict[str, Callable[[Job], Any]] = {
    "id": lambda job: job.pk,
    "operation": lambda job: job.operation,
    "state": lambda job: job.state,
    "owner": lambda job: job.owner.get_username() if job.owner else "",
    "object_type": lambda job: ".".join(job.object_type.natural_key()) if job.object_type else "",
    "object_id": lambda job: job.object_id or "",
    "attempts": lambda job: job.attempt,
    "created_at": lambda job: iso(job.created_at),
    "started_at": lambda job: iso(job.started_at),
    "finished_at": lambda job: iso(job.finished_at),
    "worker": lambda job: job.worker,
    "queue": lambda job: job.queue,
    "problem": lambda job: (job.problem or {}).get("code", ""),
    "deleted_by_owner": lambda job: "yes" if job.forgotten else "",
}
#: Without it, Excel reads UTF-8 in the code page of its country.
BYTE_ORDER_MARK = "\ufeff"
#: How many jobs are in memory at a time.
CHUNK = 2_000


def csv_lines(jobs: JobQuerySet) -> Iterator[str]:
    """Yield the lines of a CSV file; a cell that a spreadsheet would take for a formula becomes text."""
    yield BYTE_ORDER_MARK + line(COLUMNS)
    for job in jobs.iterator(chunk_size=CHUNK):
        yield row(job)


async def async_csv_lines(jobs: JobQuerySet) -> AsyncIterator[str]:
    """Yield the same lines without blocking the event loop."""
    yield BYTE_ORDER_MARK + line(COLUMNS)
    async for job in jobs.aiterator(chunk_size=CHUNK):
        yield row(job)


def row(job: Job) -> str:
    return line(harmless(str(value(job))) for value in COLUMNS.values())


def line(cells: Iterable[str]) -> str:
    return cast(str, csv.writer(Echo()).writerow(cells))


def iso(when: Any) -> str:
    return aware(when).isoformat() if when else ""


def harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell
