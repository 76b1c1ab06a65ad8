"""What the work returned, as the request would have been answered: by its view, in its language and time zone.

What a task returns is rendered by the view that accepted it, so clients of one view read one format, whether the view
or a task does the work.
"""

from contextvars import copy_context
from typing import Any

from django.http.response import HttpResponseBase
from django.urls import Resolver404
from rest_framework.response import Response

from ..models import Job
from . import events, results
from .circumstances import circumstances
from .finalizing import finalize
from .rendering import render

__all__ = ["encode"]


def encode(job: Job, value: Any) -> results.Result:
    """Return the result for what the work of *job* has returned, as the request would have been answered.

    Raises:
        Unencodable, ResultTooLarge, ViewFailed: see ``results.encode()``.
    """
    if job.request is None or events.is_event(job):
        return results.encode(value)  # no view renders it: the sender of an event never reads it
    # What is set in context variables for the answer, such as the tenant, ends with it.
    return copy_context().run(_encoded, job, value)


def _encoded(job: Job, value: Any) -> results.Result:
    with circumstances(job.request):
        # A stream is read in here.
        return results.encode(value if value is None else _answered(job, value))


def _answered(job: Job, value: Any) -> Any:
    """Return the response for *value*: a task's is rendered by the view that accepted it, if that still exists."""
    if isinstance(value, HttpResponseBase) and (not isinstance(value, Response) or value.is_rendered):
        return render(value)
    response = value if isinstance(value, Response) else Response(value)
    try:
        return render(finalize(job, response))
    except Resolver404:
        return value
