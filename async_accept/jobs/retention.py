"""Expire results, then purge rows. Active jobs are never touched.

Each ended job has a ``sweep_at``, the time of its next step. The relay takes those that are due in small batches, by
the index, so a million old rows cost no long transaction. Files go before the row that names them, and beside the
relay: who removes them has first moved ``sweep_at`` on, so that no other relay does. If that process dies, the time
comes again.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.models import DO_NOTHING, Case, F, QuerySet, When
from django_celery_results.models import TaskResult

from ..conf import conf
from ..db.fields import JSONTextField, as_text, decoded
from ..db.functions import from_now
from ..db.transactions import after_commit
from ..models import Job, database, database_now
from ..querysets import JobQuerySet
from . import uploads
from .duties import Once, act_on

__all__ = ["forget", "purge", "put_off", "remove_files", "sweep"]

logger = logging.getLogger(__name__)

#: The columns that say which step is due.
AGES = ("forgotten", "finished_at", "expires_at")
#: The columns that may be large, or hold what is no JSON.
NOT_READ = [field.name for field in Job._meta.concrete_fields if isinstance(field, JSONTextField)]
#: How many jobs are swept in one transaction, so that none is long.
AT_ONCE = 100
#: For how long the files of a job are left to who removes them.
HELD = timedelta(minutes=10)
#: When a job is looked at again whose files nobody could remove yet, because others were being removed.
SOON = timedelta(minutes=1)
#: When what could not be removed is tried again: a job that its owner has deleted, and any other.
AGAIN = timedelta(hours=1)
LATER = timedelta(days=1)

#: The jobs of which was said that they cannot be purged.
said = Once()


def sweep(limit: int, hand_over: Callable[[Sequence[Job]], bool] | None = None) -> int:
    """Expire results and purge rows of at most *limit* jobs that are due; return how many were due.

    Args:
        hand_over: takes the jobs that have files, to call ``remove_files()`` with them; False if it cannot take them
            now. None: it is done here.
    """
    due = list(_with_files(Job.objects.to_sweep().order_by("sweep_at"))[:limit])
    filed = {job.pk: job for job in due if _files_due(job)}
    bare = [job.pk for job in due if job.pk not in filed]
    for first in range(0, len(bare), AT_ONCE):
        _all_or_each(bare[first : first + AT_ONCE], _sweep)
    held = [filed[pk] for pk in _hold(filed)] if filed else []
    if hand_over is None:
        remove_files(held)
    elif held and not hand_over(held):
        Job.objects.filter(pk__in=[job.pk for job in held]).update(sweep_at=from_now(SOON))
    return len(due)


def remove_files(jobs: Sequence[Job], goes_on: Callable[[UUID], bool] = lambda pk: True) -> None:
    """Remove the files of ended jobs that this process holds, and then their results or rows.

    A file that cannot be removed is tried again, until the job's row is purged.

    Args:
        goes_on: asked before each job; False ends it, and the rest is due again when its time comes.
    """
    until = database_now() + HELD / 2
    for job in jobs:
        if database_now() > until or not goes_on(job.pk):
            break
        failed = uploads.delete(_files_due(job))
        if failed is None or _row_is_due(job):
            _forget_files(job)
            _all_or_each([job.pk], _sweep_held)
        else:
            if job.is_expired:
                _results([job.pk]).delete()
            put_off(job.pk)


def purge(ids: Collection[UUID]) -> int:
    """Delete ended jobs with their results; return how many jobs went.

    A job stays that the project protects: by a foreign key, by a receiver that raises, or by a constraint of the
    database. That is logged. If its owner has deleted it, it is 404, and the relay tries again.
    """
    return _all_or_each(list(ids), _purge)


def forget(job: Job) -> bool:
    """Delete *job* for its owner. An active job is hidden and asked to stop; its row goes once it has ended.

    Returns:
        Whether the row is gone already.
    """
    Job.objects.filter(pk=job.pk).update(forgotten=True, idempotency_key=None)
    job.cancel()
    return purge([job.pk]) > 0


def put_off(pk: UUID) -> None:
    """Move the next sweep of an ended job, with which it failed, out of the way of the others."""
    waits = Case(When(forgotten=True, then=from_now(AGAIN)), default=from_now(LATER))
    Job.objects.ended().filter(pk=pk).update(sweep_at=waits)


# --- Rows -----------------------------------------------------------------------------------------------------------


def _all_or_each(ids: Sequence[UUID], act: Callable[[Sequence[UUID]], int]) -> int:
    """Let *act* act on these jobs; one with which it fails is logged once, and put off. Return on how many it acted."""
    done, failed = act_on(ids, act)
    for pk, error in failed.items():
        if said.is_new(pk, error):
            kind = type(error).__name__
            logger.error("Job %s cannot be purged: %s", pk, kind, extra={"job_id": str(pk)})
        put_off(pk)
    return done


def _sweep(ids: Sequence[UUID]) -> int:
    return _next_step(Job.objects.to_sweep().filter(pk__in=ids))


def _sweep_held(ids: Sequence[UUID]) -> int:
    return _next_step(Job.objects.ended().filter(pk__in=ids))


def _next_step(jobs: JobQuerySet) -> int:
    """Do what is due with *jobs*, of which no file is left, in one transaction; return with how many."""
    with transaction.atomic(using=database()):
        # Several relays may sweep: each takes the rows that no other has locked.
        due = list(jobs.unlocked().only("id", *AGES))
        purged = {job.pk for job in due if _row_is_due(job)}
        expired = {job.pk for job in due if job.is_expired} - purged
        waiting = {job.pk for job in due} - purged - expired
        if purged:
            _delete(purged)
        if expired:
            _results(expired).delete()
            Job.objects.filter(pk__in=expired).update(sweep_at=F("finished_at") + conf.JOB_LIFETIME)
        if waiting:  # only the uploads were due
            Job.objects.filter(pk__in=waiting).update(sweep_at=F("expires_at"))
    return len(due)


def _purge(ids: Sequence[UUID]) -> int:
    with transaction.atomic(using=database()):
        ended = list(_with_files(Job.objects.ended().filter(pk__in=ids)))
        for job in ended:
            if left := _files(job):
                after_commit(uploads.delete, left, using=database())
        _delete([job.pk for job in ended])
    return len(ended)


def _row_is_due(job: Job) -> bool:
    """Whether the row is to be deleted, and not only its result."""
    assert job.finished_at is not None  # a constraint of the table
    return job.forgotten or job.finished_at + conf.JOB_LIFETIME <= database_now()


def _delete(ids: Collection[UUID]) -> None:
    _results(ids).delete()
    # If the project listens to deletions, Django reads the rows first.
    Job.objects.filter(pk__in=ids).defer(*NOT_READ).delete()
    connection = connections[database()]
    if connection.savepoint_ids:  # else the commit checks them, which is ours
        tables = [
            r.related_model._meta.db_table for r in Job._meta.related_objects if r.on_delete is DO_NOTHING
        ]
        if tables:
            connection.check_constraints(tables)


def _results(ids: Collection[UUID]) -> QuerySet[TaskResult]:
    rows: QuerySet[TaskResult] = TaskResult.objects.using(database())
    return rows.filter(task_id__in=[str(pk) for pk in ids])


# --- Files ----------------------------------------------------------------------------------------------------------


def _with_files(jobs: JobQuerySet) -> JobQuerySet:
    """Read what is needed of *jobs*. The names of files are read as text: one row may hold what is no JSON."""
    return jobs.annotate(**as_text(("uploads", "response"))).only("id", *AGES)


def _files(job: Job) -> list[str]:
    """Return the names of all files of *job*: uploads, and a large result."""
    result = decoded(job, "response") or {}
    return [*(decoded(job, "uploads") or ()), *([result["file"]] if "file" in result else ())]


def _files_due(job: Job) -> list[str]:
    """Return the names of those files that are not needed any more: of an ended job all but its result's."""
    is_due = job.is_expired or _row_is_due(job)
    return _files(job) if is_due else list(decoded(job, "uploads") or ())


def _forget_files(job: Job) -> None:
    """Let the row of *job* name no file any more; the input goes with its uploads."""
    changes: dict[str, Any] = {}
    if decoded(job, "uploads"):
        changes |= {"uploads": None, "input": None}
    result = decoded(job, "response") or {}
    if job.is_expired and "file" in result:
        changes["response"] = {name: value for name, value in result.items() if name != "file"}
    Job.objects.filter(pk=job.pk).update(**changes)


def _hold(ids: Collection[UUID]) -> list[UUID]:
    """Take the files of these jobs from all other relays for ``HELD``; return the jobs of which this one holds them."""
    using = database()
    held = {"sweep_at": from_now(HELD)}
    with transaction.atomic(using=using):
        due = Job.objects.to_sweep()
        mine = list(due.filter(pk__in=ids).unlocked().values_list("pk", flat=True))
        if connections[using].features.has_select_for_update:
            Job.objects.filter(pk__in=mine).update(**held)
            return mine
        return [pk for pk in mine if due.filter(pk=pk).update(**held)]
