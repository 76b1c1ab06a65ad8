"""Expire results, then purge rows. Active jobs are never touched.

Each ended job has a ``sweep_at``, the time of its next step. The relay takes those that are due in small batches, by
the index, so a million old rows cost no long transaction.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet
from django_celery_results.models import TaskResult

from ..conf import conf
from ..db.transactions import after_commit
from ..models import Job, database, database_now
from ..states import FINAL
from . import files, uploads

__all__ = ["forget", "purge", "sweep"]

#: The columns that say which step is due.
AGES = ("forgotten", "finished_at", "expires_at")


def sweep(limit: int) -> int:
    """Expire results and purge rows of at most *limit* jobs that are due; return how many were due."""
    due = list(Job.objects.to_sweep().order_by("sweep_at").only("id", "uploads", "response", *AGES)[:limit])
    for job in due:
        if job.uploads:
            uploads.remove(job)
    # Before the rows: what names the files goes with them.
    files.delete(files.names(job for job in due if job.is_expired or _row_is_due(job)))
    if due:
        with transaction.atomic(using=database()):
            # Several relays may sweep: each takes the rows that no other has locked.
            mine = Job.objects.to_sweep().filter(pk__in=[job.pk for job in due]).unlocked()
            _sweep(list(mine.only("id", *AGES)))
    return len(due)


def _sweep(due: Sequence[Job]) -> None:
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


def purge(ids: Collection[UUID]) -> int:
    """Delete ended jobs with their results; return how many jobs went."""
    with transaction.atomic(using=database()):
        ended = []
        for job in Job.objects.filter(pk__in=ids, state__in=FINAL).only("id", "uploads", "response"):
            ended.append(job.pk)
            if left := files.names([job]):
                after_commit(files.delete, left, using=database())
            if job.uploads:
                after_commit(uploads.discard, job, using=database())
        _delete(ended)
    return len(ended)


def forget(job: Job) -> bool:
    """Delete *job* for its owner. An active job is hidden and asked to stop; its row goes once it has ended.

    Returns:
        Whether the row is gone already.
    """
    Job.objects.filter(pk=job.pk).update(forgotten=True, idempotency_key=None)
    job.cancel()
    return purge([job.pk]) > 0


def _row_is_due(job: Job) -> bool:
    """Whether the row is to be deleted, and not only its result."""
    assert job.finished_at is not None  # a constraint of the table
    return job.forgotten or job.finished_at + conf.JOB_LIFETIME <= database_now()


def _delete(ids: Collection[UUID]) -> None:
    _results(ids).delete()
    Job.objects.filter(pk__in=ids).delete()


def _results(ids: Collection[UUID]) -> QuerySet[TaskResult]:
    rows: QuerySet[TaskResult] = TaskResult.objects.using(database())
    return rows.filter(task_id__in=[str(pk) for pk in ids])
