"""A status document in the reader's language, for templates."""

import json
import math
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from http.client import responses
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.dateparse import parse_datetime
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from ..db.clock import as_stored
from ..jobs import results
from ..models import Job, database_now
from ..problems import TYPES, UNDOCUMENTED, translated
from ..querysets import owns
from ..redaction import redact_text
from ..states import ACTIVE, State
from .monitor import status_document

__all__ = ["debug_traceback", "document_of", "panel"]

#: Members of a status document that hold a URL of the job.
URLS = ("url", "result_url", "cancel_url", "rerun_url", "events_url")
CENT = Decimal("0.01")
#: Members that hold a time, in the order of a job's life.
TIMES = ("created_at", "started_at", "finished_at", "expires_at")


def document_of(job: Any, request: Any) -> Mapping[str, Any] | None:
    """Return the status document of *job*; *job* may be a document already. None if there is no job."""
    if isinstance(job, Job):
        return status_document(job, request)
    return job if isinstance(job, Mapping) and job else None


def panel(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the context of ``async_accept/job.html`` for a status document."""
    state, progress = document["status"], document.get("progress") or {}
    active = state in ACTIVE
    percent = _percent(state, progress.get("percent"))
    expires = _moment(document.get("expires_at"))
    expired = expires is not None and as_stored(expires) <= database_now()
    words = _words()
    return {
        "document": document,
        "urls": {name: _path(document[name]) for name in URLS if document.get(name)},
        "rerun_of_url": _sibling(document, "rerun_of"),
        "rerun_as_url": _sibling(document, "rerun_as"),
        "times": {name: _moment(document.get(name)) for name in TIMES},
        "words": json.dumps(words, ensure_ascii=False, separators=(",", ":")),
        "state": state,
        "label": words.get(state, state),
        "stage": progress.get("stage") or words["progress"],
        "count": _count(progress, words["of"]),
        "attempt": _attempt(state, document.get("attempt") or 0, words),
        "message": document.get("message") or "",
        "percent": percent,
        "value": None if percent is None else f"{percent:g}",
        "percent_text": ""
        if percent is None
        else words["percent"].replace("{}", number_format(math.floor(percent + 0.5))),  # as Math.round()
        "has_bar": active or percent is not None,
        "error": _error(document) if state == State.FAILED else None,
        "can_cancel": state in (State.ACCEPTED, State.RUNNING),
        "can_rerun": document.get("can_rerun", False),
        "has_result": state == State.SUCCEEDED and not expired,
        "is_expired": state == State.SUCCEEDED and expired,
        "is_active": active,
    }


def debug_traceback(job: Job, user: Any) -> str:
    """Return the traceback of a failed job for its owner, if ``DEBUG`` is on; else ""."""
    if not (settings.DEBUG and (job.anonymous or owns(user, job)) and job.state == State.FAILED):
        return ""
    return redact_text(results.stored(job).values_list("traceback", flat=True).first() or "")


def _words() -> dict[str, Any]:
    """Return the words and formats of the script, so that it writes as the server does, in the same language."""
    words: dict[str, Any] = {str(state): capfirst(str(state.label)) for state in State}
    return words | {
        "progress": _("Progress"),
        # Translators: how many items are done, as in "30 of 100 orders"; {total} comes with its unit.
        "of": _("{current} of {total}"),
        # Translators: {} is a whole number.
        "percent": _("{}%"),
        # Translators: {} is a number, from 2 on: how often a worker has begun with the job.
        "attempt": _("Attempt {}"),
        # Translators: an earlier attempt did not succeed; {} is the number of the next one, from 2 on.
        "waits": _("Waiting for attempt {}"),
        "offline": _("The server does not answer. Trying again …"),
        "gone": _("This job can no longer be followed here. Reload the page, or log in again."),
        # Django's calendar and digits.
        "lang": f"{get_language() or 'en'}-u-ca-gregory-nu-latn",
        "number": {"maximumFractionDigits": 2, "useGrouping": "always"},
        "time": {"dateStyle": "long", "timeStyle": "medium"},
    }


def _percent(state: str, percent: float | None) -> float | None:
    """Return how full the bar is; None if nobody knows."""
    if state == State.SUCCEEDED:
        return 100
    return 0 if percent is None and state == State.ACCEPTED else percent


def _count(progress: Mapping[str, Any], of: str) -> str:
    current, total = progress.get("current"), progress.get("total")
    if not current and not total:
        return ""
    done = _number(current or 0)
    text = of.format(current=done, total=_number(total)) if total else done
    return f"{text} {progress.get('unit') or ''}".strip()


def _attempt(state: str, attempt: int, words: Mapping[str, Any]) -> str:
    """Return which attempt this is, or which one is next; nothing for the first attempt."""
    waits = state == State.ACCEPTED
    nth = attempt + waits
    return words["waits" if waits else "attempt"].replace("{}", number_format(nth)) if nth > 1 else ""


def _number(value: float) -> str:
    # As the script does: at most two decimals, halves rounded up.
    exact = Decimal(str(value)).quantize(CENT, ROUND_HALF_UP, Context(prec=400))
    return number_format(exact.normalize(), use_l10n=True, force_grouping=True)


def _error(document: Mapping[str, Any]) -> dict[str, Any]:
    problem = document.get("error") or {}
    errors = problem.get("errors")
    title = problem.get("title") or ""
    if problem.get("type") == UNDOCUMENTED and title == responses.get(problem.get("status", 0)):
        title = TYPES["rejected"].title  # the phrase of a status is for programs
    return {
        "title": translated(title),
        "detail": translated(problem.get("detail") or ""),
        "reference": problem.get("reference") or "",
        "lines": "\n".join(_lines(errors)) if errors else "",
    }


def _lines(errors: Any) -> list[str]:
    """Return the field errors of a problem, one a line."""
    if isinstance(errors, Mapping):
        return [f"{name}: {'; '.join(_lines(value))}" for name, value in errors.items()]
    if isinstance(errors, str | Promise) or not isinstance(errors, list | tuple):
        return [str(errors)]
    return [line for value in errors for line in _lines(value)]


def _moment(text: str | None) -> Any:
    return parse_datetime(text) if text else None


def _path(url: str) -> str:
    """Return *url* without scheme and host: behind a proxy, the browser may know them better than Django does."""
    parts = urlsplit(url)
    return parts._replace(scheme="", netloc="").geturl()


def _sibling(document: Mapping[str, Any], member: str) -> str | None:
    """Return the URL of the job whose id *member* holds."""
    other = document.get(member)
    return _path(document["url"]).replace(str(document["id"]), str(other)) if other else None
