"""How a worker takes a job: by one statement where the database returns what it has changed, else by two.

Whoever claims first has the job. The statement says nothing of why it found no job, so then the row is read.
"""

import logging
import os
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connections, transaction
from django.db.models import F, Q, QuerySet

from .. import signals
from ..conf import conf
from ..db.compiled import Select, compile_select
from ..db.errors import again_after_conflict
from ..db.functions import offset_seconds
from ..db.updates import Slot, Statement, compile_update
from ..exceptions import new_reference
from ..jobs import turns
from ..models import Job, database
from ..problems import problem
from ..states import LEASED, State
from ..steps import is_surrounded
from .message import id_of_message, job_of_message

__all__ = ["Claim"]

logger = logging.getLogger(__name__)


class Claim(NamedTuple):
    """What a worker claims, and when."""

    #: As the message has it.
    task_id: str
    task: str
    worker: str
    queue: str
    #: When the attempt begins. If the connection breaks after the UPDATE, the worker knows its own claim by this time.
    began: datetime

    def take(self) -> Job | None:
        """Claim the job; None if no job waits for this message.

        Raises:
            django.db.Error: the database is away; the job may be claimed.
            ValueError: the row holds what is no JSON.
        """
        return self._take_at_once() or self._look_and_take()

    def fail_unreadable(self, error: ValueError) -> None:
        """Fail a job whose row cannot be read: no attempt could begin. The log has the reference of its problem."""
        is_mine = Q(started_at=self.began, worker_pid=os.getpid())
        unclaimed = Q(state=State.ACCEPTED) | is_mine
        rows = Job.objects.filter(unclaimed, pk=UUID(self.task_id), task=self.task)
        job = rows.only("id", "state", "attempt", "order_key").first()
        document = problem("failed", reference=new_reference())
        if job is not None and job.fail(document, leave=[State.ACCEPTED, State.RUNNING], fence=unclaimed):
            kind, reference = type(error).__name__, document["reference"]
            logger.error(
                "Job %s failed: its row cannot be read, %s, reference %s",
                *(self.task_id, kind, reference),
                extra={"job_id": self.task_id},
            )

    def _take_at_once(self) -> Job | None:
        """Claim by one UPDATE that returns the row; None if the row is not ready, or that is not possible here."""
        pk, using = id_of_message(self.task_id), database()
        statement = _statement(using)
        if pk is None or statement is None or is_surrounded():  # what surrounds a claim asks the job first
            return None
        values = {
            "pk": pk,
            "task": self.task,
            "state": State.RUNNING,
            "delay": conf.LEASE,
            **Job.claimed(self.worker, os.getpid(), self.queue, self.began),
        }
        job = again_after_conflict(partial(statement.take, values, using), using)
        if job is not None:
            job.tell(signals.job_started, State.ACCEPTED)
        return job

    def _look_and_take(self) -> Job | None:
        job = job_of_message(self.task_id)
        if job is None or job.task != self.task:
            return None
        if job.state in LEASED and (job.started_at, job.worker_pid) == (self.began, os.getpid()):
            return job  # the try before has claimed it, and then the connection broke
        # A job that was given back waits for its time; then the relay publishes it.
        if job.state != State.ACCEPTED or (job.attempt and not job.dispatches):
            return None
        if turns.waits(job) and not turns.take(job):
            return None
        return job if job.claim(self.worker, os.getpid(), self.queue, began=self.began) else None


class _Taking(NamedTuple):
    """An UPDATE that returns the row."""

    update: Statement
    row: Select

    def take(self, values: dict[str, Any], using: str) -> Job | None:
        connection = connections[using]
        with transaction.mark_for_rollback_on_error(using=using), connection.cursor() as cursor:
            cursor.execute(self.update.text, self.update.params(values, connection))
            found = cursor.fetchall()
        job: Job | None = self.row.row(list(found[0]), connection) if found else None
        return job


#: By the database, by ``USE_TZ``, which decides how its times are read, and by what else is in their text.
_statements: dict[tuple[str, bool, int], _Taking | None] = {}


def _statement(using: str) -> _Taking | None:
    key = using, settings.USE_TZ, offset_seconds(connections[using])
    if key not in _statements:
        _statements[key] = _compile(using) if _returns_rows(connections[using]) else None
    return _statements[key]


def _returns_rows(connection: Any) -> bool:
    """Whether an UPDATE returns its rows; MariaDB and MySQL return those of an INSERT at most.

    Source: https://sqlite.org/lang_returning.html, https://www.postgresql.org/docs/current/dml-returning.html.
    """
    return (
        connection.vendor in ("postgresql", "sqlite") and connection.features.can_return_columns_from_insert
    )


def _compile(using: str) -> _Taking:
    changes = {"state": State.RUNNING, "attempt": F("attempt") + 1, **Job.claimed("", None, "", None)}
    update = compile_update(_ready(), changes, using)
    row = compile_select(Job.objects.all(), using)
    quote = connections[using].ops.quote_name
    names = ", ".join(quote(str(field.column)) for field in Job._meta.concrete_fields)
    return _Taking(update._replace(text=f"{update.text} RETURNING {names}"), row)


def _ready() -> QuerySet[Job]:
    """Find a job that can be claimed without more questions: it need not wait for its time, nor for its turn."""
    find = Job._meta.get_field
    is_its_time = Q(attempt=0) | Q(dispatches__gt=0)
    is_its_turn = Q(order_key__isnull=True) | Q(active_key__isnull=False)
    return Job.objects.filter(
        is_its_time,
        is_its_turn,
        pk=Slot("pk", Job._meta.pk),
        task=Slot("task", find("task")),
        state=State.ACCEPTED,
    )
