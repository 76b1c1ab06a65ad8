"""Due jobs are moved to their next step before they are published, so that no other relay publishes them.

PostgreSQL locks, changes and returns them in one statement. Other databases lock and read them first.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import Case, F, TextField, Value, When
from django.db.models.functions import Cast, Least

from .. import encoding
from ..conf import conf
from ..db.functions import from_now
from ..models import Job, database
from ..states import State
from .publish import Waiting

__all__ = ["OPTIONS", "decoded", "next_time", "one_more", "put_off", "step"]

#: The longest that a job waits before it is published again.
LONGEST_STEP = timedelta(hours=1)
#: After so many doublings the steps grow no more, however short the first one is.
DOUBLINGS = 20
#: As far as dispatches are counted; the column has no room for many more.
MOST = 30_000
#: ``message_options`` as text: one row that holds what is no JSON must not stand in the way of the others.
OPTIONS = Cast("message_options", TextField())

# MATERIALIZED: a subquery that is looked into again would find other rows, because those before are locked.
_PUT_OFF = """
    WITH due AS MATERIALIZED (
        SELECT id, dispatch_at, dispatches FROM {table}
        WHERE state = %s AND dispatch_at <= STATEMENT_TIMESTAMP()
        ORDER BY dispatch_at LIMIT %s FOR UPDATE SKIP LOCKED
    )
    UPDATE {table} job
    SET dispatch_at = STATEMENT_TIMESTAMP() + (%s::interval[])[LEAST(due.dispatches, %s) + 1],
        dispatches = LEAST(due.dispatches + 1, %s)
    FROM due WHERE job.id = due.id
    RETURNING job.id, job.task, job.message_options::text, due.dispatches, due.dispatch_at
"""


def step(dispatches: int) -> timedelta:
    """Return how long a job waits for its claim before it is published again, after so many earlier *dispatches*."""
    first: timedelta = min(conf.REPUBLISH_AFTER, LONGEST_STEP)  # one of years cannot be doubled so often
    growing = first * int(2 ** min(dispatches, DOUBLINGS))
    return min(growing, LONGEST_STEP)


def _steps() -> list[timedelta]:
    """Return the steps after 0, 1, 2 … dispatches; all later ones are as long as the last."""
    last = next((n for n in range(DOUBLINGS) if step(n) == LONGEST_STEP), DOUBLINGS)
    return [step(dispatches) for dispatches in range(last + 1)]


def next_time(count: str) -> Case:
    """Return the expression for ``step()`` from now, where the column *count* says how many dispatches there were.

    MariaDB assigns the columns of an ``UPDATE`` one after the other: this one comes before *count* itself.
    """
    *growing, longest = map(from_now, _steps())
    whens = [When(**{count: n}, then=time) for n, time in enumerate(growing)]
    return Case(*whens, default=longest)


def one_more(count: str) -> Least:
    """Return the expression for one more in the column *count*."""
    return Least(F(count) + 1, Value(MOST))


def put_off(most: int) -> list[tuple[Waiting, int]]:
    """Move due jobs to their next step; return them, the oldest first, and how often each was published before."""
    using = database()
    rows = (
        _in_one_statement(using, most) if connections[using].vendor == "postgresql" else _locked(using, most)
    )
    return [(Waiting(pk, task, decoded(options)), dispatches) for pk, task, options, dispatches in rows]


def _in_one_statement(using: str, most: int) -> list[Any]:
    connection, steps = connections[using], _steps()
    statement = _PUT_OFF.format(table=connection.ops.quote_name(Job._meta.db_table))
    with connection.cursor() as cursor:
        cursor.execute(statement, [State.ACCEPTED, most, steps, len(steps) - 1, MOST])
        rows = cursor.fetchall()
    return [row[:4] for row in sorted(rows, key=lambda row: row[4])]


def _locked(using: str, most: int) -> list[Any]:
    if not Job.objects.due().exists():  # most often; it needs no transaction
        return []
    with transaction.atomic(using=using):
        due = Job.objects.due().order_by("dispatch_at").unlocked().annotate(options=OPTIONS)
        rows = list(due.values_list("pk", "task", "options", "dispatches")[:most])
        # SQLite locks no row, but lets nobody else write once this transaction has.
        waiting = Job.objects.filter(pk__in=[pk for pk, *_ in rows], state=State.ACCEPTED)
        waiting.update(dispatch_at=next_time("dispatches"), dispatches=one_more("dispatches"))
    return rows


def decoded(options: str | None) -> Any:
    """Return how a job's messages are sent; None, as its task says, if the row holds what is no JSON.

    Then the worker cannot read the row either, and fails the job.
    """
    with suppress(ValueError):
        return None if options is None else encoding.loads(options)
    return None
