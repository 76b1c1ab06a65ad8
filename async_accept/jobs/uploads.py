"""Uploaded files on their way to the worker: kept in Django's storage, removed when the job has ended.

The row refers to a file by a generated name; the client's name for it is data. Files are saved right before the insert.
Retention removes them when the job has ended. It also removes files that no job refers to: their web process died
before the insert.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.core.files.base import File
from django.core.files.storage import Storage, storages
from django.core.files.uploadedfile import UploadedFile

from ..conf import conf
from ..db.errors import is_outage
from ..encoding import SCALARS
from ..exceptions import Unavailable
from ..models import Job, database_now
from . import folders, values

__all__ = [
    "close",
    "delete",
    "discard",
    "files_by_job",
    "fingerprints",
    "held_open",
    "is_old",
    "keep",
    "remove_orphans",
    "restore",
    "save",
    "storage",
]

logger = logging.getLogger(__name__)

#: The folder in the storage; it has one folder for each installation, and that one for each job.
FOLDER = "async_accept/uploads"
#: The member that marks a reference to a file in a job's input.
MARK = "async_accept.upload"
#: The attribute of a job that holds its open files, by their names in the storage.
OPENED = "_opened_uploads"
#: A folder without a job may belong to a request that still runs, unless its files are older than this.
ORPHAN_AGE = timedelta(days=1)


def storage() -> Storage:
    """Return the storage named by ``UPLOAD_STORAGE``."""
    return storages[conf.UPLOAD_STORAGE]


def fingerprints(value: Any) -> Any:
    """Replace files in *value* by hashes of their contents, so that repeats can be compared."""
    return _replace(value, File, _digest)


@contextmanager
def held_open(files: Iterable["File[Any]"]) -> Iterator[None]:
    """Keep *files* open inside the block, although a check closes them (``with file:``, a dropped ``TextIOWrapper``).

    They are stored after the view's checks, and closed at the end of the request as ever.
    """
    held: list[Any] = []
    for file in files:
        for each in (file, getattr(file, "file", None)):
            with suppress(TypeError):  # it has no attributes
                vars(each)["close"] = _stay_open
                held.append(each)
    try:
        yield
    finally:
        for each in held:
            vars(each).pop("close", None)


def _stay_open() -> None:
    pass


@contextmanager
def keep(job: Job) -> Iterator[None]:
    """Save the files in the input of *job* and replace them by references; remove them again on an error.

    They stay if the database was away: the job may be stored, and only the confirmation was lost.

    Raises:
        Unavailable: a file cannot be stored, for example because the disk is full (503).
    """
    saved: list[str] = []
    references: dict[int, dict[str, Any]] = {}

    def refer(file: "File[Any]") -> dict[str, Any]:
        # One file may be in two places: among the data and among the files.
        if id(file) not in references:
            try:
                name = save(f"{folders.own(FOLDER)}/{job.pk.hex}/{len(saved)}", file)
            except OSError as error:
                raise Unavailable.because(error) from error
            saved.append(name)
            references[id(file)] = {
                MARK: name,
                "name": str(getattr(file, "name", "") or ""),
                "size": file.size,
                "content_type": getattr(file, "content_type", None),
                "charset": getattr(file, "charset", None),
                "content_type_extra": values.keep(getattr(file, "content_type_extra", None)),
            }
        return references[id(file)]

    try:
        job.input = _replace(job.input, File, refer)
        job.uploads = saved or None
        yield
    except BaseException as error:
        if not is_outage(error):
            delete(saved)
        raise


def save(name: str, file: "File[Any]") -> str:
    """Save *file* under a new name and return its name in the storage; on an error nothing of it stays.

    A storage on a disk that gets full has written a part of it. To keep that part would keep the disk full.
    """
    try:
        return storage().save(name, file)
    except BaseException:
        delete([name])
        raise


def restore(job: Job) -> Any:
    """Return the input of *job* as it was given, with its files, opened in the storage until ``close()``."""
    # A client can send what looks like a reference. So only the names of this job's own files are opened.
    opened = _replace(job.input, _Reference, partial(_open, job)) if job.uploads else job.input
    return values.restore(opened)


def close(job: Job) -> None:
    """Close the files that ``restore()`` has opened, if the work has not closed them."""
    for file in vars(job).pop(OPENED, {}).values():
        file.close()


def discard(job: Job) -> None:
    """Remove the files of a job that was not stored, because an earlier job stands for it."""
    delete(job.uploads or [])


def remove_orphans() -> int:
    """Remove folders without a job, left by a process that died before its insert; return how many.

    Storages that cannot list their folders are skipped.
    """
    removed = 0
    for pk, names in files_by_job(FOLDER):
        with suppress(NotImplementedError, FileNotFoundError):  # another relay may be faster
            if all(map(is_old, names)) and not Job.objects.filter(pk=pk).exists():
                removed += delete(names) is None
    return removed


def files_by_job(kind: str) -> Iterator[tuple[UUID, list[str]]]:
    """Yield for each job that has a folder of this installation its id and the names of its files in the storage.

    Nothing if the storage cannot list its folders; folders that are no job's are skipped.

    Args:
        kind: the folder of uploads, or of results.
    """
    store = storage()
    for folder in folders.all_own(kind):
        with suppress(NotImplementedError, FileNotFoundError):
            for job in store.listdir(folder)[0]:
                with suppress(ValueError):
                    pk = UUID(job)
                    yield pk, [f"{folder}/{job}/{name}" for name in store.listdir(f"{folder}/{job}")[1]]


class _Reference(dict[str, Any]):
    """A reference to a file in a job's input."""


def _replace(value: Any, kind: type, by: Any) -> Any:
    """Return *value* with every item of *kind* in its lists and dicts replaced."""
    if type(value) in SCALARS:
        return value
    if isinstance(value, kind) or (kind is _Reference and isinstance(value, dict) and MARK in value):
        return by(value)
    if isinstance(value, dict):
        return {
            key: item if type(item) in SCALARS else _replace(item, kind, by) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [item if type(item) in SCALARS else _replace(item, kind, by) for item in value]
    return value


def _open(job: Job, reference: dict[str, Any]) -> Any:
    name = reference[MARK]
    if name not in job.uploads:
        return reference
    opened = vars(job).setdefault(OPENED, {})
    if name not in opened:
        opened[name] = UploadedFile(
            file=storage().open(name),
            name=reference["name"],
            content_type=reference["content_type"],
            size=reference["size"],
            charset=reference["charset"],
            content_type_extra=values.restore(reference.get("content_type_extra", {})),
        )
    return opened[name]


def _digest(file: "File[Any]") -> list[Any]:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk if isinstance(chunk, bytes) else chunk.encode())
    file.seek(0)
    return [getattr(file, "name", ""), file.size, digest.hexdigest()]


def is_old(name: str) -> bool:
    """Whether the file *name* is so old that nobody can be about to store a reference to it."""
    return storage().get_modified_time(name) < database_now() - ORPHAN_AGE


def delete(names: Iterable[str]) -> Exception | None:
    """Remove files from the storage, and their folders.

    Returns:
        The error of a file that cannot be removed; it is logged, and stays.
    """
    failed, emptied = None, set()
    for name in names:
        emptied.add(name.rpartition("/")[0])
        try:
            storage().delete(name)
        except Exception as error:  # storages are anybody's code
            failed = error
    for folder in emptied:
        with suppress(Exception):  # object storages have no folders
            storage().delete(folder)
    if failed is not None:
        # Not its message, which may name the storage's address and key.
        place, kind = ", ".join(sorted(emptied)), type(failed).__name__
        logger.warning("Stored files could not be removed from %s: %s", place, kind)
    return failed
