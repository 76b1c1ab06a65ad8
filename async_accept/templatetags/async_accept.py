"""``{% load async_accept %}{% async_job job %}``: a job's state, bar and buttons in any template.

The markup is complete without JavaScript. ``<async-job>`` keeps it current where the script is loaded:
``<script src="{% static 'async_accept/async-job.js' %}" defer>``, and its looks are in ``async_accept/async-job.css``.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any
from urllib.parse import urlsplit

from django import template
from django.utils.dateparse import parse_datetime
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from ..http import streaming
from ..http.permissions import may_change
from ..http.responses import retry_after
from ..http.serializers import JobSerializer
from ..models import Job
from ..problems import translated
from ..states import ACTIVE, State

__all__ = ["async_job", "document_of", "panel"]

register = template.Library()

#: Members of a status document that hold a URL of the job.
URLS = ("url", "result_url", "cancel_url", "rerun_url", "events_url")
CENT = Decimal("0.01")
#: Members that hold a time, in the order of a job's life.
TIMES = ("created_at", "started_at", "finished_at", "expires_at")


@register.inclusion_tag("async_accept/job.html", takes_context=True)
def async_job(
    context: template.Context, job: Any, wait: int | None = None, page: bool = False
) -> dict[str, Any]:
    """Render *job*: a ``Job``, or a status document as the API gives it; nothing at all for None.

    Args:
        wait: seconds until the script asks first; by default as ``Retry-After`` would say.
        page: add what the status page has and a panel has not: times, links between reruns.

    Of a ``Job`` only those buttons are shown that the visitor may use; a document does not say whose job it is.
    """
    request = context.get("request")
    document = document_of(job, request)
    if document is None:
        return {}
    if wait is None:
        wait = retry_after(job) if isinstance(job, Job) else 1
    shown = panel(document)
    if request is None or not streaming.is_offered(request):
        shown["urls"].pop("events_url", None)
    return {"request": request, "wait": wait, "page": page, **_allowed(job, request), **shown}


def document_of(job: Any, request: Any) -> Mapping[str, Any] | None:
    """Return the status document of *job*, which may be one already; None where there is no job."""
    if isinstance(job, Job):
        document: Mapping[str, Any] = JobSerializer(job, context={"request": request}).data
        return document
    return job if isinstance(job, Mapping) and job else None


def _allowed(job: Any, request: Any) -> dict[str, bool]:
    """Tell which buttons the visitor may use at all; all of them, where nothing says that they may not."""
    user = getattr(request, "user", None)
    known = isinstance(job, Job) and user is not None
    return {f"may_{verb}": not known or may_change(user, job, f"{verb}_job") for verb in ("cancel", "rerun")}


def panel(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the markup shows of a status document, in words of the reader's language."""
    state, progress = document["status"], document.get("progress") or {}
    active = state in ACTIVE
    percent = _percent(state, progress.get("percent"))
    expires = _moment(document.get("expires_at"))
    expired = expires is not None and expires <= datetime.now(UTC)
    said = _words()
    return {
        "document": document,
        "urls": {name: _path(document[name]) for name in URLS if document.get(name)},
        "rerun_of_url": _sibling(document, "rerun_of"),
        "rerun_as_url": _sibling(document, "rerun_as"),
        "times": {name: _moment(document.get(name)) for name in TIMES},
        "words": json.dumps(said, ensure_ascii=False, separators=(",", ":")),
        "state": state,
        "label": said.get(state, state),
        "stage": progress.get("stage") or said["progress"],
        "count": _count(progress, said["of"]),
        "attempt": _attempt(state, document.get("attempt") or 0, said),
        "message": document.get("message") or "",
        "percent": percent,
        "value": None if percent is None else f"{percent:g}",
        "percent_text": ""
        if percent is None
        else said["percent"].replace("{}", number_format(math.floor(percent + 0.5))),  # as Math.round()
        "has_bar": active or percent is not None,
        "error": _error(document) if state == State.FAILED else None,
        "can_cancel": state in (State.ACCEPTED, State.RUNNING),
        "can_rerun": document.get("can_rerun", False),
        "has_result": state == State.SUCCEEDED and not expired,
        "is_expired": state == State.SUCCEEDED and expired,
        "is_active": active,
    }


def _words() -> dict[str, Any]:
    """What the script says, and how it writes numbers and times: as the server does, and in the same language."""
    said: dict[str, Any] = {str(state): capfirst(str(state.label)) for state in State}
    return said | {
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
        # With the calendar and the digits that Django writes.
        "lang": f"{get_language() or 'en'}-u-ca-gregory-nu-latn",
        "number": {"maximumFractionDigits": 2, "useGrouping": "always"},
        "time": {"dateStyle": "long", "timeStyle": "medium"},
    }


def _percent(state: str, percent: float | None) -> float | None:
    """Return how full the bar is; None where nobody knows."""
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


def _attempt(state: str, attempt: int, said: Mapping[str, Any]) -> str:
    """Return which attempt runs, has ended or is waited for; nothing of the first one."""
    waits = state == State.ACCEPTED
    nth = attempt + waits
    return said["waits" if waits else "attempt"].replace("{}", number_format(nth)) if nth > 1 else ""


def _number(value: float) -> str:
    # As the script does: two decimals at most, halves up.
    exact = Decimal(str(value)).quantize(CENT, ROUND_HALF_UP, Context(prec=400))
    return number_format(exact.normalize(), use_l10n=True, force_grouping=True)


def _error(document: Mapping[str, Any]) -> dict[str, Any]:
    problem = document.get("error") or {}
    errors = problem.get("errors")
    return {
        "title": translated(problem.get("title") or ""),
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
    """Return *url* without scheme and host: a page behind a proxy may know them better than Django does."""
    parts = urlsplit(url)
    return parts._replace(scheme="", netloc="").geturl()


def _sibling(document: Mapping[str, Any], member: str) -> str | None:
    """Return the URL of the job whose id *member* holds."""
    other = document.get(member)
    return _path(document["url"]).replace(str(document["id"]), str(other)) if other else None
