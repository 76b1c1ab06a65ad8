"""The tasks of the drills."""

import hashlib
from typing import Any

from celery import shared_task
from django.conf import settings
from django.core.files.base import File

from async_accept.tasks import JobTask, atomic_from_here

from .effects import commit, note
from .work import begin, misbehave, result, wait

__all__ = ["drill", "once_drill", "plain_drill", "upload_drill"]

#: Version 2 changes an option of the tasks, see `DRILLS_VERSION`. The jobs that version 1 has accepted do not mind.
_OPTIONS = {"base": JobTask, "bind": True, "acks_late": settings.DRILLS_VERSION >= 2}


@shared_task(**_OPTIONS, retry_when_lost=True, max_attempts=5)
def drill(self: JobTask, key: str, ms: int, mode: str, asked_by: int = 1) -> Any:
    """Note the begin, work, do what the mode says, write one `Effect`, and note the end.

    Args:
        asked_by: the version that has accepted the job. Version 1 stores none.
    """
    attempt = begin(key, asked_by)
    wait(ms / 1000)
    misbehave(mode, self)
    # Not earlier: on SQLite the transaction locks out everybody else who writes.
    atomic_from_here()
    commit(key)
    note(key, "end", attempt)
    return result(mode, {"key": key, "ms": ms, "mode": mode})


@shared_task(**_OPTIONS, retry_when_lost=True, max_attempts=5)
def plain_drill(self: JobTask, key: str, ms: int, mode: str, asked_by: int = 1) -> Any:
    """Write the `Effect` in the middle of the work, and outside of any transaction: at least once for a success."""
    return _plain(self, key, ms, mode, asked_by)


@shared_task(**_OPTIONS)
def once_drill(self: JobTask, key: str, ms: int, mode: str, asked_by: int = 1) -> Any:
    """The same, but it is not repeated if it is lost with its worker: at most once."""
    return _plain(self, key, ms, mode, asked_by)


def _plain(task: JobTask, key: str, ms: int, mode: str, asked_by: int) -> Any:
    attempt = begin(key, asked_by)
    wait(ms / 2000)
    commit(key)
    wait(ms / 2000)
    misbehave(mode, task)
    note(key, "end", attempt)
    return result(mode, {"key": key, "ms": ms, "mode": mode})


@shared_task(**_OPTIONS, atomic=True, retry_when_lost=True, max_attempts=5)
def upload_drill(self: JobTask, key: str, ms: int, mode: str, file: File, asked_by: int = 1) -> Any:
    """Return the size and the SHA-256 checksum of the file that the work has got."""
    attempt = begin(key, asked_by)
    content = file.read()
    wait(ms / 1000)
    misbehave(mode, self)
    commit(key)
    note(key, "end", attempt)
    return result(mode, {"key": key, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()})
