"""Let the view that accepted a job finalize what its task has answered, as if the view had returned that."""

from functools import partial
from inspect import getattr_static
from typing import Any

from django.urls import ResolverMatch
from django.utils.functional import SimpleLazyObject
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.settings import api_settings

from ..models import Job
from .circumstances import resolved
from .replay import Replayed, owner, prepare
from .variables import restore_variables

__all__ = ["finalize"]


class Finalized(Replayed):
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


def finalize(job: Job, response: Response) -> Any:
    """Let the view that accepted *job* finalize *response*, with its renderer, as if it had returned it.

    Raises:
        Resolver404: no route matches the path any more.
    """
    stored: dict[str, Any] = job.request
    match = resolved(stored)
    key = _simple_key(match, stored) if type(response) is Response else None
    answer: Any = response
    media_type = _as_json.get(key)
    if media_type is not None:
        restore_variables(stored.get("variables", {}))
        answer.accepted_renderer, answer.accepted_media_type = JSONRenderer(), media_type
        answer.renderer_context = {}
        return answer
    request, function = prepare(job, match, Finalized, lambda: SimpleLazyObject(partial(owner, job)))
    request.accept_response = response  # type: ignore[attr-defined]
    finalized = function(request, *match.args, **match.kwargs)
    if key is not None and finalized is answer and _is_plain(match.func, answer):
        if len(_as_json) >= SIZE:
            _as_json.clear()
        _as_json[key] = answer.accepted_media_type
    return finalized


# --- Views that add nothing -------------------------------------------------------------------------------------------

#: A view's function, its renderers, and what the request accepts.
_Key = tuple[Any, tuple[Any, ...], str | None]
#: Views whose answer to such a request is plain JSON, and its media type. To find that out again for each job would be
#: a third of what a short job costs its worker.
_as_json: dict[_Key | None, str] = {}
#: How many of them one process remembers, and how long an ``Accept`` may be for that.
SIZE, LONGEST = 256, 512
#: Whose code is known not to look at the single request, or at its response.
KNOWN = frozenset({"async_accept", "builtins", "django", "rest_framework"})
#: What a view does before and after its handler; none of it may be anybody else's code.
DECIDING = frozenset(
    {
        *("__getattr__", "__getattribute__", "__init__", "__new__", "__setattr__", "as_view", "setup"),
        *("initialize_request", "get_parser_context", "get_authenticators", "get_content_negotiator"),
        *("default_response_headers", "allowed_methods", "get_format_suffix", "perform_content_negotiation"),
        *("get_renderers", "determine_version", "finalize_response", "get_renderer_context"),
    }
)


def _simple_key(match: ResolverMatch, stored: dict[str, Any]) -> _Key | None:
    """Return what the choice of the renderer depends on; None if it depends on more, such as a format in the URL."""
    function: Any = match.func
    renderers = function.initkwargs.get("renderer_classes", function.cls.renderer_classes)
    kwargs = {**match.kwargs, **stored.get("kwargs", {})}
    accept = stored["meta"].get("HTTP_ACCEPT")
    if (
        not isinstance(renderers, list | tuple)
        or stored["meta"].get("QUERY_STRING")
        or len(accept or "") > LONGEST
        or api_settings.FORMAT_SUFFIX_KWARG in kwargs
        or None in kwargs.values()  # not kept, which the view may find out
    ):
        return None
    return function, tuple(renderers), accept


def _is_plain(function: Any, response: Any) -> bool:
    """Whether *response* has a renderer that needs neither view nor request, and the view does nothing of its own."""
    view = function.cls
    options = {name: getattr(view, name) for name in ("content_negotiation_class", "versioning_class")}
    options.update(function.initkwargs)
    return (
        type(response.accepted_renderer) is JSONRenderer
        and options["content_negotiation_class"] is DefaultContentNegotiation
        and options["versioning_class"] is None
        and not DECIDING & options.keys()
        and all(_author(getattr_static(view, name, None)) in KNOWN for name in DECIDING)
    )


def _author(attribute: Any) -> str:
    """Return the name of the package whose code *attribute* of a class is, also if it stands in place of another's."""
    function = getattr(attribute, "fget", None) or getattr(attribute, "__func__", attribute)
    module: str = getattr(function, "__globals__", {}).get("__name__", "builtins")
    return module.partition(".")[0]
