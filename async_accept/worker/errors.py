"""What Celery, its log and other processes may know of an error: its kind and its place, but not its message.

The error itself stays in the process that raised it. The log of that process also has the traceback: the frames of the
work with their source lines, without any message.
"""

import inspect
import logging
import os
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from traceback import format_exception, walk_tb
from types import TracebackType
from typing import Any

from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db.transaction import TransactionManagementError

from ..exceptions import (
    AttemptLost,
    NotInJob,
    NotKept,
    ResultTooLarge,
    Unencodable,
    WorkEnded,
    WorkFailed,
    new_reference,
)
from ..jobs import events
from ..jobs.circumstances import resolved
from ..models import Job
from ..problems import Problem, from_exception, is_unexpected, problem
from ..redaction import redact_text

__all__ = [
    "Failure",
    "celery_logs",
    "explain_transaction",
    "failure",
    "place_of",
    "show_traceback",
    "trimmed",
    "work_of",
]

OURS = f"{Path(__file__).resolve().parent.parent}{os.sep}"
#: Where Python and installed packages are. A project is elsewhere, unless it was installed as a package.
LIBRARIES = tuple(
    {f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
#: What is wrong with a result; its problem has no reference.
RESULT_ERRORS = (ResultTooLarge, Unencodable)
#: So many causes and parts of an error are logged: each of them has a traceback.
MOST_ERRORS = 50
#: Celery writes the failures of all tasks to this logger.
celery_logger = logging.getLogger("celery.app.trace")


#: Added to what fails only because a view is replayed in a transaction, which its request had not.
IN_TRANSACTION = (
    "The request of this view is in no transaction (ATOMIC_REQUESTS), but its replay commits together with the end of "
    "the job (accept_atomic). So this error came from a transaction, or only at its commit. There are two ways out: "
    "accept_atomic = False, then the effects of a lost attempt may happen twice; or transaction.atomic() around what "
    "the view writes, then the request meets the same error."
)
#: Added to what fails because the work itself, or its request (ATOMIC_REQUESTS), is in a transaction.
BROKEN_TRANSACTION = (
    "This work runs in one transaction. Either an error of the database was caught inside of it, which has broken it, "
    "or it opens a transaction that must be the outermost (durable=True). There are two ways out: transaction.atomic() "
    "around just the statement whose error is caught; or no such transaction, by atomic = False or atomic_from_here() "
    "of a task, and by @transaction.non_atomic_requests of a view with ATOMIC_REQUESTS."
)
#: Notes of ours, which the log may show; any other note may hold anybody's data.
NOTES = (IN_TRANSACTION, BROKEN_TRANSACTION)
#: How Django refuses ``atomic(durable=True)`` inside of a transaction: by a plain RuntimeError.
NOT_DURABLE = "A durable atomic block cannot be nested"


class Failure(WorkFailed):
    """Carries an error, and the problem that it leaves, from the task to its backend.

    It cannot be pickled, so Celery passes on its base class, ``WorkFailed``, with the summary.
    """

    error: BaseException

    def __init__(self, summary: str, error: BaseException, document: Problem) -> None:
        super().__init__(summary)
        self.error = error
        self.document = document

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("An error stays in its process.")


class Ending(Failure, WorkEnded):
    """As ``Failure``, for an end that was wanted."""


def failure(error: BaseException, job: Job | None = None) -> Failure:
    """Wrap what the task of *job* raised in an exception that tells its kind, and nothing of its message."""
    try:
        return _failure(error, job)
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # whatever the error's own code does: the job must end
        document = problem("failed", reference=new_reference())
        return Failure(f"{type(error).__name__}, reference {document['reference']}", error, document)


def _failure(error: BaseException, job: Job | None) -> Failure:
    document = from_exception(error)
    kind = type(error).__name__
    if isinstance(
        error, NotKept | NotInJob
    ):  # the only texts that are told: they name what is wrong, and no value
        kind = f"{kind}: {error}"
    if isinstance(error, AttemptLost):
        return Ending(kind, error, document)
    if is_unexpected(document):
        place = place_of(error) or "no code of the project"
        return Failure(f"{kind} in {place}, reference {document['reference']}", error, document)
    if isinstance(error, RESULT_ERRORS):
        # A fault of the task or the view, which the client cannot correct.
        where = [f"of {job.operation}" if job else "", f"in {place_of(error) or work_of(job)}"]
        return Failure(f"{kind} {' '.join(filter(None, where))}, {document['code']}", error, document)
    return Ending(f"{kind}, {document['code']}", error, document)


# --- The place --------------------------------------------------------------------------------------------------------


def place_of(error: BaseException) -> str:
    """Return the module and line of the project that is deepest in the traceback; "" if none is.

    If none is, the traceback of the error's cause decides. The source is left out, because events and other processes
    get this text.
    """
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        if place := _own_place(at):
            return place
        seen.add(id(at))
        at = at.__cause__
    return ""


def _own_place(error: BaseException) -> str:
    place = ""
    for frame, line in walk_tb(error.__traceback__):
        if _is_projects(frame.f_code.co_filename, str(frame.f_globals.get("__name__", ""))):
            place = f"{frame.f_globals.get('__name__', '?')}:{line}"
    if isinstance(error, BaseExceptionGroup):
        # Its own line is the one that waited; the errors were raised below.
        place = next(filter(None, map(place_of, error.exceptions)), place)
    return place


def work_of(job: Job | None) -> str:
    """Return module, line and name of what does the work of *job*: the task's function, or the view's handler.

    A handler that is not the project's is told by its view, and what is gone by the name of the task.
    """
    if job is None:
        return "?"
    name = job.task
    try:
        if job.request and (not events.is_event(job) or job.task == events.HANDLE):
            view, method = _handler(job.request)
            name = f"{view.__module__}.{view.__qualname__}.{method}"
            work: Any = getattr(view, method)
        else:
            work = current_app.tasks[job.task].run
        work = inspect.unwrap(work)
        code = work.__code__
    except Exception:  # the route or the task may be gone
        return name
    own = _is_projects(code.co_filename, work.__module__)
    return f"{work.__module__}:{code.co_firstlineno} ({work.__qualname__})" if own else name


def _handler(stored: Any) -> tuple[type, str]:
    """Return the view that a captured request runs, and the name of its method."""
    match: Any = resolved(stored)
    if stored.get("receiver"):
        return match.func.view_class, "handle"
    method = stored["method"].lower()
    return match.func.cls, (getattr(match.func, "actions", None) or {}).get(method, method)


@lru_cache(maxsize=4096)
def _is_projects(file: str, module: str) -> bool:
    """Whether a frame is the project's: not ours, not Python's, and not of a package that is installed.

    A project may be installed as a package itself. Then it is known by the names in its settings.
    """
    if file.startswith(("<", OURS)):
        return False
    if not file.startswith(LIBRARIES) and "site-packages" not in file and "dist-packages" not in file:
        return True
    return module.partition(".")[0] in _own_packages()


def _own_packages() -> Iterator[str]:
    for name in ("SETTINGS_MODULE", "ROOT_URLCONF", "WSGI_APPLICATION", "ASGI_APPLICATION"):
        value = getattr(settings, name, None)
        if isinstance(value, str) and value:
            yield value.partition(".")[0]


# --- The log ----------------------------------------------------------------------------------------------------------


def trimmed(traceback: TracebackType | None) -> TracebackType | None:
    """Return *traceback* from the first frame of the project on; all of it if there is none."""
    shown = traceback
    while shown is not None:
        code = shown.tb_frame.f_code
        if _is_projects(code.co_filename, str(shown.tb_frame.f_globals.get("__name__", ""))):
            return shown
        shown = shown.tb_next
    return traceback


def _without_message(error: BaseException, summary: str, seen: set[int]) -> BaseException:
    """Return an exception with the traceback, causes and parts of *error*, but *summary* in place of its message."""
    seen.add(id(error))
    told: BaseException = WorkFailed(summary)
    if isinstance(error, BaseExceptionGroup) and len(seen) < MOST_ERRORS:
        parts = error.exceptions[:MOST_ERRORS]
        told = BaseExceptionGroup(
            summary, [_without_message(part, type(part).__name__, seen) for part in parts]
        )
    told.error = error  # type: ignore[attr-defined]
    told.__traceback__ = trimmed(error.__traceback__)
    for name in ("__cause__", "__context__"):
        before = getattr(error, name)
        if before is not None and id(before) not in seen and len(seen) < MOST_ERRORS:
            setattr(told, name, _without_message(before, type(before).__name__, seen))
    told.__suppress_context__ = error.__suppress_context__
    for note in set(NOTES).intersection(getattr(error, "__notes__", ())):
        told.add_note(note)
    return told


def explain_transaction(error: BaseException, hidden: bool) -> None:
    """Add a note to *error* if the transaction of the work has caused it: the reason, and the two ways out.

    Args:
        hidden: the work does not see its transaction (``db.autocommit``), which has a note of its own.
    """
    is_not_durable = isinstance(error, RuntimeError) and str(error).startswith(NOT_DURABLE)
    if not hidden and (is_not_durable or isinstance(error, TransactionManagementError)):
        error.add_note(BROKEN_TRANSACTION)


def celery_logs() -> bool:
    """Whether Celery's own log of failures is heard in this process; it has no handler outside of a worker."""
    logger: logging.Logger | None = celery_logger
    if not celery_logger.isEnabledFor(logging.ERROR):
        return False
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def show_traceback(record: logging.LogRecord) -> bool:
    """Let the record of a failed job show the traceback of the work, without messages.

    A filter of Celery's logger: the traceback that Celery itself logs is ours, because it goes to events as well.
    """
    failed = record.exc_info[1] if record.exc_info else None
    if isinstance(failed, WorkFailed) and failed.error is not None:
        if record.name == celery_logger.name and not celery_logs():
            return False  # nobody hears it but Python's last resort, and worker/finish.py has logged it
        if isinstance(data := getattr(record, "data", None), dict):
            record.job_id = data.get("id")
        try:
            _show(record, failed, failed.error)
        except Exception:  # a log is no reason to fail
            record.exc_info = None
    return True


def _show(record: logging.LogRecord, failed: WorkFailed, error: BaseException) -> None:
    if isinstance(error, RESULT_ERRORS) and not place_of(error):
        record.exc_info = None  # only frames of ours: the summary names the work
        return
    told = _without_message(error, str(failed), set())
    record.exc_info = (type(told), told, told.__traceback__)
    # Formatters take this text; it has no password that stands in the source.
    record.exc_text = redact_text("".join(format_exception(told))).rstrip("\n")


celery_logger.addFilter(show_traceback)
