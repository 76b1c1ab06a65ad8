"""``{% load async_accept %}{% async_job job %}``: a job's state, progress bar and buttons in any template.

The markup is complete without JavaScript. With the script ``<async-job>`` keeps itself current:
``<script src="{% static 'async_accept/async-job.js' %}" defer>``. The styles are in ``async_accept/async-job.css``.
"""

from typing import Any

from django import template

from ..http.monitor import retry_after
from ..http.negotiation import can_stream
from ..http.panel import debug_traceback, document_of, panel
from ..http.permissions import may_change
from ..models import Job

__all__ = ["async_job"]

register = template.Library()


@register.inclusion_tag("async_accept/job.html", takes_context=True)
def async_job(
    context: template.Context, job: Any, wait: int | None = None, page: bool = False
) -> dict[str, Any]:
    """Render *job*: a ``Job``, or a status document of the API; None renders nothing.

    A ``Job`` has only the buttons that the visitor may use. A document does not say whose job it is, so it has all.

    Args:
        wait: seconds until the script's first poll; None takes those of ``Retry-After``.
        page: add what only the status page shows: times, links between reruns, and with ``DEBUG`` the traceback.
    """
    request = context.get("request")
    document = document_of(job, request)
    if document is None:
        return {}
    if wait is None:
        wait = retry_after(job) if isinstance(job, Job) else 1
    shown = panel(document)
    if request is None or not can_stream(request):
        shown["urls"].pop("events_url", None)
    if page and isinstance(job, Job):
        shown["traceback"] = debug_traceback(job, getattr(request, "user", None))
    return {"request": request, "wait": wait, "page": page, **_allowed(job, request), **shown}


def _allowed(job: Any, request: Any) -> dict[str, bool]:
    """Tell which buttons the visitor may use; all of them if the owner or the visitor is not known."""
    user = getattr(request, "user", None)
    known = isinstance(job, Job) and user is not None
    return {f"may_{verb}": not known or may_change(user, job, f"{verb}_job") for verb in ("cancel", "rerun")}
