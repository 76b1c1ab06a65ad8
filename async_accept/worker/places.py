"""Where an error was raised, and where the work is: what events and the log name in place of a message."""

import inspect
from traceback import walk_tb
from types import TracebackType
from typing import Any

from celery import current_app

from ..jobs import events
from ..jobs.circumstances import resolved
from ..models import Job
from ..origin import is_projects

__all__ = ["place_in_words", "place_of", "trimmed", "work_of"]


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


def place_in_words(error: BaseException) -> str:
    """Return the same for a sentence, also if there is none."""
    return place_of(error) or "no code of the project"


def _own_place(error: BaseException) -> str:
    place = ""
    for frame, line in walk_tb(error.__traceback__):
        if is_projects(frame.f_code.co_filename, str(frame.f_globals.get("__name__", ""))):
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
    own = is_projects(code.co_filename, work.__module__)
    return f"{work.__module__}:{code.co_firstlineno} ({work.__qualname__})" if own else name


def _handler(stored: Any) -> tuple[type, str]:
    """Return the view that a captured request runs, and the name of its method."""
    match: Any = resolved(stored)
    if stored.get("receiver"):
        return match.func.view_class, "handle"
    method = stored["method"].lower()
    return match.func.cls, (getattr(match.func, "actions", None) or {}).get(method, method)


def trimmed(traceback: TracebackType | None) -> TracebackType | None:
    """Return *traceback* from the first frame of the project on; all of it if there is none."""
    shown = traceback
    while shown is not None:
        code = shown.tb_frame.f_code
        if is_projects(code.co_filename, str(shown.tb_frame.f_globals.get("__name__", ""))):
            return shown
        shown = shown.tb_next
    return traceback
