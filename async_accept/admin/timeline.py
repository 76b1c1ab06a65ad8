"""The timeline of a job: what happened to it, in sentences. The row stores codes; here they become sentences."""

from datetime import datetime
from typing import Any, NamedTuple

from django.utils.dateparse import parse_datetime
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ..db.clock import as_stored
from ..models import Job, database_now
from ..states import State
from .formatting import LOOKS, duration, progress_words

__all__ = ["Step", "timeline", "waited"]

#: The tones of steps that are not states.
BUSY, WARNING, QUIET = LOOKS[State.RUNNING].tone, LOOKS[State.CANCELING].tone, LOOKS[State.CANCELED].tone
WAITING = LOOKS[State.ACCEPTED].tone


class Step(NamedTuple):
    """One line of the timeline."""

    when: datetime | None
    what: str
    notes: list[str]
    tone: str


def timeline(job: Job) -> list[Step]:
    """Return what happened to *job*, oldest first."""
    steps = [Step(job.created_at, _("Accepted"), [], WAITING)]
    waiting_since = job.created_at
    for past in job.history or []:
        began, ended = _time(past.get("started_at")), _time(past.get("ended_at"))
        attempt = int(past.get("attempt") or 0)
        steps.append(_begun(attempt, began, waiting_since, str(past.get("worker") or "")))
        what = _("Attempt %(n)s ended without a result") % {"n": attempt}
        steps.append(Step(ended, what, _notes(_reason(str(past.get("reason") or ""))), WARNING))
        waiting_since = ended or waiting_since
    if job.started_at and job.state != State.ACCEPTED:
        steps.append(_begun(job.attempt, job.started_at, waiting_since, job.worker))
    if job.state == State.ACCEPTED and job.attempt:
        steps.append(Step(job.dispatch_at, _("Waits for its next attempt"), [], WAITING))
    if job.state == State.CANCELING:
        steps.append(Step(job.updated_at, _("Asked to stop"), [], WARNING))
    if job.finished_at:
        steps.append(_ended(job))
    if job.expires_at:
        said = _("Result expired") if job.is_expired else _("Result expires")
        steps.append(Step(job.expires_at, said, [], QUIET))
    return steps


def waited(job: Job) -> str:
    """Return how long *job* waited for its first attempt; empty if that is not known."""
    past = (job.history or [{}])[0].get("started_at")
    began = _time(past) or (job.started_at if job.attempt == 1 else None)
    end = began or (database_now() if job.state == State.ACCEPTED and not job.attempt else None)
    return duration(end - job.created_at) if end else ""


def _begun(attempt: int, began: datetime | None, since: datetime, worker: str) -> Step:
    after = _("after waiting %(duration)s") % {"duration": duration(began - since)} if began else ""
    on = _("on %(worker)s") % {"worker": worker} if worker else ""
    return Step(began, _("Attempt %(n)s began") % {"n": attempt}, _notes(after, on), BUSY)


def _ended(job: Job) -> Step:
    ran = ""
    if job.started_at and job.finished_at and job.attempt:
        ran = _("after running %(duration)s") % {"duration": duration(job.finished_at - job.started_at)}
    state = State(job.state)
    reached = "" if state == State.SUCCEEDED else progress_words(job)  # how far it got
    return Step(job.finished_at, capfirst(str(state.label)), _notes(ran, reached), LOOKS[state].tone)


def _reason(code: str) -> str:
    """Return why an attempt ended, as a sentence; an unknown code stays as it is."""
    sentences = {
        "lease": _("Its worker gave no sign of life any more."),
        "worker: lost": _("Its process died."),
        "worker: shut down": _("Its worker was shut down."),
        "retry": _("The task asked for another attempt."),
    }
    kind, _colon, cause = code.partition(": ")
    match kind:
        case "retry" if cause:
            return _("The task asked for another attempt: %(cause)s") % {"cause": cause}
        case "database" if cause:
            return _("The database failed: %(error)s") % {"error": cause}
    return sentences.get(code, code)


def _notes(*notes: str) -> list[str]:
    return [note for note in notes if note]


def _time(value: Any) -> datetime | None:
    """Return a time that was stored in JSON; None if it is none."""
    moment = parse_datetime(value) if isinstance(value, str) else value
    return as_stored(moment) if isinstance(moment, datetime) else None
