"""What the log shows of a job that failed: the frames of the work with their source lines, without any message."""

import logging
from traceback import format_exception

from ..exceptions import WorkFailed
from ..redaction import redact_text
from .errors import NOTES, RESULT_ERRORS
from .places import place_of, trimmed

__all__ = ["celery_logs", "show_traceback"]

#: So many causes and parts of an error are logged: each of them has a traceback.
MOST_ERRORS = 50
#: Celery writes the failures of all tasks to this logger.
celery_logger = logging.getLogger("celery.app.trace")


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


celery_logger.addFilter(show_traceback)
