"""Results that are too large for the database: files in the storage of uploads, each job has a folder.

A file's name cannot be guessed, because a project may serve its storage to everybody. The job's row has the name.
"""

from collections.abc import Iterable
from contextlib import suppress
from secrets import token_hex
from typing import Any

from django.core.files.base import File

from ..models import Job
from . import folders, uploads
from .uploads import delete, files_by_job, is_old, storage

__all__ = ["delete", "names", "open", "remove_orphans", "save"]

#: The folder in the storage; it has one folder for each installation, and that one for each job.
FOLDER = "async_accept/results"


def save(job: Job, file: "File[Any]") -> str:
    """Save *file* and return its name in the storage; on an error nothing of it stays."""
    file.seek(0)
    return uploads.save(f"{folders.own(FOLDER)}/{job.pk.hex}/{token_hex(16)}", file)


def open(name: str) -> "File[Any]":
    """Open a file by its name in the storage.

    Raises:
        FileNotFoundError: it is gone.
    """
    return storage().open(name)


def names(jobs: Iterable[Job]) -> list[str]:
    """Return the names of the files that *jobs* have left."""
    return [job.response["file"] for job in jobs if job.response and "file" in job.response]


def remove_orphans() -> int:
    """Remove old files that no job names, left by an attempt whose end was not stored; return how many.

    Storages that cannot list their folders are skipped.
    """
    removed = 0
    for pk, found in files_by_job(FOLDER):
        with suppress(NotImplementedError, FileNotFoundError):  # another relay may be faster
            old = [name for name in found if is_old(name)]
            kept = names(Job.objects.filter(pk=pk).only("response")) if old else []
            orphans = [name for name in old if name not in kept]
            if delete(orphans) is None:
                removed += len(orphans)
    return removed
