"""Write down what a drill does.

The lines of the file show what was tried. The rows of `Effect` show what was committed.
"""

import os
import time

from django.conf import settings

from async_accept.progress import current_job

from .models import Effect

__all__ = ["commit", "note"]


def commit(key: str) -> None:
    """Write one `Effect`. It is there after the commit, if the work is atomic."""
    job = current_job()
    Effect.objects.create(key=key, job=job.pk if job else None)


def note(key: str, moment: str, attempt: int) -> None:
    """Append the line "key moment pid attempt unix-time" to EFFECTS_FILE. Do nothing if that is not set.

    With O_APPEND and a single write, lines of several processes do not mix, and a line survives if its process is
    killed right afterwards.
    """
    if not settings.EFFECTS_FILE:
        return
    line = f"{key} {moment} {os.getpid()} {attempt} {time.time():.6f}\n"
    descriptor = os.open(settings.EFFECTS_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
