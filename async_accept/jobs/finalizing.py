"""Let the view that accepted a job finalize what its task has answered, as if the view had returned that.

For a view that adds nothing to plain JSON, the first job of a process finds that out, and the others need no view: to
make one would be a third of what a short job costs its worker.
"""

from functools import lru_cache, partial
from types import FunctionType
from typing import Any

from django.urls import ResolverMatch
from django.utils.functional import SimpleLazyObject
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.settings import api_settings

from ..models import Job
from .replay import Replayed, find_view, owner, prepare

__all__ = ["finalize"]

#: What alone decides how a view that adds nothing answers: its function, its renderers, and ``Accept``.
Choice = tuple[Any, tuple[Any, ...], str | None]
#: The media type of the plain JSON that is the answer.
_plain_json: dict[Choice, str] = {}
#: How many choices one process remembers, and how long an ``Accept`` may be for that.
MAX_REMEMBERED, MAX_ACCEPT_CHARS = 256, 512
#: Packages whose code answers alike for all requests of one choice.
TRUSTED = frozenset({"async_accept", "django", "rest_framework"})
#: All that ``FinalizesOnly.dispatch()`` calls or sets of a view. If each is a trusted package's, the view adds nothing.
DECIDING = frozenset(
    {
        *("__getattr__", "__getattribute__", "__init__", "__new__", "__setattr__", "as_view", "setup"),
        *("initialize_request", "get_parser_context", "get_authenticators", "get_content_negotiator"),
        *("default_response_headers", "allowed_methods", "get_format_suffix", "perform_content_negotiation"),
        *("get_renderers", "determine_version", "finalize_response", "get_renderer_context"),
        *("args", "kwargs", "request", "response", "headers", "format_kwarg", "_negotiator"),
    }
)


class FinalizesOnly(Replayed):
    """As ``Replayed``, but a task did the work: the view only finalizes what that has answered."""

    def dispatch(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        self.args, self.kwargs = args, kwargs
        self.request = rebuilt = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        self.format_kwarg = self.get_format_suffix(**kwargs)
        rebuilt.accepted_renderer, rebuilt.accepted_media_type = self.perform_content_negotiation(rebuilt)
        rebuilt.version, rebuilt.versioning_scheme = self.determine_version(rebuilt, *args, **kwargs)
        self.response = self.finalize_response(rebuilt, request.accept_response, *args, **kwargs)
        return self.response


def finalize(job: Job, response: Any) -> Any:
    """Let the view that accepted *job* finalize *response*, with its renderer, as if it had returned it.

    Raises:
        Resolver404, NotKept: see ``find_view()``, which also sets context variables.
    """
    match = find_view(job)
    choice = _choice(match, job.request["meta"], response)
    media_type = None if choice is None else _plain_json.get(choice)
    if media_type is not None:
        response.accepted_renderer, response.accepted_media_type = JSONRenderer(), media_type
        response.renderer_context = {}
        return response
    request: Any
    request, function = prepare(job, match, FinalizesOnly, SimpleLazyObject(partial(owner, job)))
    request.accept_response = response
    finalized = function(request, *match.args, **match.kwargs)
    if choice is not None and finalized is response and _is_plain_json(match.func, response):
        if len(_plain_json) >= MAX_REMEMBERED:
            _plain_json.clear()
        _plain_json[choice] = response.accepted_media_type
    return finalized


def _choice(match: ResolverMatch, meta: dict[str, Any], response: Any) -> Choice | None:
    """Return what decides how the view answers; None if more may decide, such as a format in the URL."""
    function: Any = match.func
    renderers = function.initkwargs.get("renderer_classes", function.cls.renderer_classes)
    accept = meta.get("HTTP_ACCEPT")
    callbacks: Any = getattr(response, "_post_render_callbacks", ())
    if (
        type(response) is not Response
        or callbacks  # they may look at the view
        or not isinstance(renderers, list | tuple)
        or not all(isinstance(renderer, type) for renderer in renderers)
        or meta.get("QUERY_STRING")
        or len(accept or "") > MAX_ACCEPT_CHARS
        or api_settings.FORMAT_SUFFIX_KWARG in match.kwargs
    ):
        return None
    return function, tuple(renderers), accept


def _is_plain_json(function: Any, response: Any) -> bool:
    """Whether *response* has a renderer that needs neither view nor request, and its view adds nothing."""
    names = ("content_negotiation_class", "settings", "versioning_class")
    options = {name: getattr(function.cls, name) for name in names} | function.initkwargs
    return (
        type(response.accepted_renderer) is JSONRenderer
        and not vars(response.accepted_renderer)
        and _is_theirs(JSONRenderer.render)
        and options["content_negotiation_class"] is DefaultContentNegotiation
        and options["versioning_class"] is None
        and options["settings"] is api_settings
        and DECIDING.isdisjoint(options)
        and _adds_nothing(function.cls)
    )


@lru_cache(maxsize=1024)
def _adds_nothing(view: Any) -> bool:
    """Whether no class of *view* has anything of ``DECIDING`` of its own: each of them may call the next."""
    return type(view) is type and all(
        kind.__module__.partition(".")[0] in TRUSTED and _is_theirs(vars(kind)[name])
        for kind in view.__mro__[:-1]
        for name in DECIDING & vars(kind).keys()
    )


def _is_theirs(member: Any) -> bool:
    """Whether *member*, of a class of a trusted package, is still the function or property that it was made as."""
    function = getattr(member, "fget", None) or getattr(member, "__func__", member)
    return (
        type(function) is FunctionType
        and not hasattr(function, "__wrapped__")
        and function.__globals__["__name__"].partition(".")[0] in TRUSTED
    )
