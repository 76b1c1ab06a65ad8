"""Which errors of a request pass by themselves, so that its client is told to send it again (503)."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error

from ..db.errors import is_passing
from ..exceptions import Unavailable

__all__ = ["own_statements", "passes"]

#: The disk is full, or the quota of this user is.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def passes(error: BaseException, *, own: bool = False) -> bool:
    """Tell whether the same request may succeed a moment later: the database fails and that passes, or a disk is full.

    A large upload is written to a temporary file while the request is parsed, so its disk may be another one than that
    of ``UPLOAD_STORAGE``.

    Args:
        own: see ``async_accept.db.errors.is_passing()``.
    """
    return is_passing(error, own=own) or (isinstance(error, OSError) and error.errno in FULL)


@contextmanager
def own_statements() -> Iterator[None]:
    """Surround statements of this app in a request.

    Raises:
        Unavailable: one of them failed, and that passes; also if it took too long (503).
    """
    try:
        yield
    except Error as error:
        if not is_passing(error, own=True):
            raise
        raise Unavailable.because(error) from error
