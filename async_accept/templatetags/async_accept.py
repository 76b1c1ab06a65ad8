"""``{% load async_accept %}{% async_job job %}``: a job's state, bar and buttons in any template.

The markup is complete without JavaScript. ``<async-job>`` keeps it current where the script is loaded:
``<script src="{% static 'async_accept/async-job.js' %}" defer>``, and its looks are in ``async_accept/async-job.css``.
"""

from typing import Any

from django import template

from ..http.monitor import retry_after
from ..http.negotiation import can_stream
from ..http.panel import document_of, panel
from ..http.permissions import may_change
from ..models import Job

__all__ = ["async_job"]

register = template.Library()


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
    if request is None or not can_stream(request):
        shown["urls"].pop("events_url", None)
    return {"request": request, "wait": wait, "page": page, **_allowed(job, request), **shown}


def _allowed(job: Any, request: Any) -> dict[str, bool]:
    """Tell which buttons the visitor may use at all; all of them, where nothing says that they may not."""
    user = getattr(request, "user", None)
    known = isinstance(job, Job) and user is not None
    return {f"may_{verb}": not known or may_change(user, job, f"{verb}_job") for verb in ("cancel", "rerun")}
