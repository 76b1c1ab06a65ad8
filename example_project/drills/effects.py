"""Notes that survive everything: one line, one write, to a file outside the database.

Its lines tell what was attempted, the table `Effect` what was committed.
"""

import os
import time

from django.conf import settings

__all__ = ["note"]


def note(key: str, moment: str, attempt: int) -> None:
    """Append "key moment pid attempt unix-time"; nothing happens where EFFECTS_FILE is not set.

    O_APPEND and a single write: lines of several processes do not mix, and a kill right after loses nothing.
    """
    if not settings.EFFECTS_FILE:
        return
    line = f"{key} {moment} {os.getpid()} {attempt} {time.time():.6f}\n"
    descriptor = os.open(settings.EFFECTS_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
