"""Render in the worker what the request would have been answered: by its view, in its language and time zone.

A replayed view negotiates its renderer again, by the ``Accept``, ``?format=`` or suffix of the request. What a task
returns is rendered by the view that accepted it, so clients of one view read one format, whoever does the work.
"""

from functools import lru_cache
from inspect import isclass
from typing import Any

from django.conf import settings
from django.http.response import HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.urls import Resolver404
from django.utils import translation
from django.utils.module_loading import import_string
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.response import Response

from ..exceptions import Unencodable
from ..models import Job
from . import events, replay, results
from .circumstances import circumstances

__all__ = ["encode", "render"]


def encode(job: Job, value: Any) -> results.Result:
    """Return the result for what the work of *job* has returned, as the request would have been answered.

    Raises:
        Unencodable, ResultTooLarge, ViewFailed: see ``results.encode()``.
    """
    if job.request is None or events.is_event(job):
        return results.encode(value)  # no view renders it: the sender of an event never reads it
    with circumstances(job.request):
        # A stream is read in here.
        return results.encode(value if value is None else _answered(job, value))


def render(response: Any) -> Any:
    """Render *response* as Django would after the view, and return it.

    A page of the browsable API is for one reader: in its place is what it shows, such as JSON.

    Raises:
        Unencodable: the data has no JSON form.
    """
    if not (hasattr(response, "render") and callable(response.render)):
        return _in_its_language(response)
    renderer = getattr(response, "accepted_renderer", None)
    if isinstance(renderer, BrowsableAPIRenderer):
        view = response.renderer_context["view"]
        renderer = renderer.get_default_renderer(view) or JSONRenderer()
        response.accepted_renderer, response.accepted_media_type = renderer, renderer.media_type
    try:
        return _in_its_language(response.render())
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        if isinstance(renderer, JSONRenderer):
            raise Unencodable(f"The value has no JSON form ({type(error).__name__}).") from error
        raise


def _answered(job: Job, value: Any) -> Any:
    """Return the response for *value*: a task's is rendered by the view that accepted it, if that still exists."""
    if isinstance(value, HttpResponseBase) and (not isinstance(value, Response) or value.is_rendered):
        return render(value)
    response = value if isinstance(value, Response) else Response(value)
    try:
        return render(replay.finalize(job, response))
    except Resolver404:
        return value


def _in_its_language(response: Any) -> Any:
    """Say the language, if ``LocaleMiddleware`` would have: to the result URL, readers of other languages come."""
    if _tells_language(tuple(settings.MIDDLEWARE)):
        response.headers.setdefault("Content-Language", translation.get_language())
    return response


@lru_cache(maxsize=8)
def _tells_language(middleware: tuple[str, ...]) -> bool:
    kinds = [import_string(path) for path in middleware]
    return any(isclass(kind) and issubclass(kind, LocaleMiddleware) for kind in kinds)
