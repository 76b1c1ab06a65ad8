"""``{% load async_accept %}{% async_job job %}``: a job's state, progress bar and buttons in any template.

The markup is complete without JavaScript. With the script ``<async-job>`` keeps itself current:
``<script src="{% static 'async_accept/async-job.js' %}" defer>``. The styles are in ``async_accept/async-job.css``.
"""

from typing import Any
from urllib.parse import unquote

from django import template
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.urls import Resolver404, get_script_prefix, resolve
from django.utils import translation
from rest_framework.exceptions import APIException
from rest_framework.request import Request, clone_request

from ..http.monitor import retry_after
from ..http.negotiation import can_stream
from ..http.panel import debug_traceback, document_of, panel
from ..http.permissions import may_change
from ..models import Job

__all__ = ["async_job"]

register = template.Library()

#: What the buttons do, as the URLs of a job name it.
VERBS = ("cancel", "rerun")


@register.inclusion_tag("async_accept/job.html", takes_context=True)
def async_job(
    context: template.Context, job: Any, wait: int | None = None, page: bool = False
) -> dict[str, Any]:
    """Render *job*: a ``Job``, or a status document of the API; None renders nothing.

    A ``Job`` has only the buttons that work for the visitor, as the view set that is mounted for jobs says. A document
    does not say whose job it is, so it has all.

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
    allowed = _allowed(job, request, shown["urls"]["url"])
    return {"request": request, "wait": wait, "page": page, **allowed, **shown}


def _allowed(job: Any, request: Any, path: str) -> dict[str, bool]:
    """Tell which buttons the visitor may use; all of them if the owner or the visitor is not known."""
    if not isinstance(job, Job) or getattr(request, "user", None) is None:
        return {f"may_{verb}": True for verb in VERBS}
    views = _views(path, request)
    return {f"may_{verb}": _may_post(views, job, request, verb) for verb in VERBS}


def _views(path: str, request: Any) -> Any:
    """Return the view of the job's URL; None if it is not one of ours."""
    path = "/" + unquote(path.partition("?")[0]).removeprefix(get_script_prefix())
    # The path has the language of the request, which need not be that of the page.
    with translation.override(getattr(request, "LANGUAGE_CODE", None) or translation.get_language()):
        try:
            found = resolve(path).func
        except Resolver404:
            return None
    return found if hasattr(getattr(found, "cls", None), "may_change") else None


def _may_post(views: Any, job: Job, request: Any, verb: str) -> bool:
    """Tell whether a POST of the visitor would pass the permissions of the view set, and its ``may_change()``."""
    if views is None:
        return may_change(request.user, job, f"{verb}_job")
    view = views.cls(**views.initkwargs)
    view.action_map, view.args, view.kwargs, view.format_kwarg = {"post": verb}, (), {"pk": str(job.pk)}, None
    view.request = _as_post(request, view)
    view.action = verb
    try:
        view.check_permissions(view.request)
        view.check_object_permissions(view.request, job)
    except (APIException, PermissionDenied, Http404):
        return False
    return bool(view.may_change(job, f"{verb}_job"))


def _as_post(request: Any, view: Any) -> Request:
    """Return a POST of the same visitor."""
    if isinstance(request, Request):
        return clone_request(request, "POST")
    asked = view.initialize_request(request)
    asked._user, asked._auth, asked._authenticator = request.user, None, None
    return clone_request(asked, "POST")
