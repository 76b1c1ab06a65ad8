"""``@accepts``: accepting in an action, a method of an ``APIView``, or a function view.

It stands below ``@action`` and below ``@api_view``, directly above the function, as REST framework's own decorators do.
Above ``@api_view`` it takes charge of the whole view: then what fails before the handler is reached, such as
authenticating while the database is away, gets the answers of an accepting view too.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, TypeVar, cast

from django.core.exceptions import ImproperlyConfigured
from django.db import Error
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from .db.errors import is_outage
from .exceptions import Unavailable
from .http import generic
from .http.accept import Accepting
from .http.generic import VERBS
from .http.metadata import with_terms
from .http.negotiation import with_panel
from .http.responses import VARY
from .jobs.replay import job_of

__all__ = ["accepts", "decorated"]

Handler = TypeVar("Handler", bound=Callable[..., Any])


def accepts(
    task: Any = None, *, serializer_class: Any = None, **options: Any
) -> Callable[[Handler], Handler]:
    """Accept the requests that reach the decorated handler.

    Without *task*, the handler itself runs in the worker; in the request only *serializer_class*, if given,
    validates the data, and a detail route looks its object up (so 400, 403 and 404 come at once).

    With *task*, the handler runs in the request: it validates, and returns the keyword arguments of the task as a
    mapping. Where the answer can be had at once it returns a ``Response`` instead, and there is no job; so it is the
    handler that decides, and no ``mode``.

    Args:
        options: any attribute of ``Accepting`` without its ``accept_``: ``operation="orders.bulk"``.

    Raises:
        ImproperlyConfigured: an unknown option, or ``mode`` beside *task*.
    """
    if task is not None:
        if options.get("mode") is not None:
            raise ImproperlyConfigured(
                "@accepts(task=…) takes no mode: only the handler can answer at once, by returning a Response."
            )
        options["task"] = task
    unknown = [name for name in options if not hasattr(Accepting, f"accept_{name}")]
    if unknown:
        raise ImproperlyConfigured(f"@accepts has no option {', '.join(unknown)}.")

    def decorate(handler: Handler) -> Handler:
        if hasattr(handler, "cls"):
            return cast(Handler, _whole(handler.cls, decorate, options))

        @wraps(handler)
        def accepting(*args: Any, **kwargs: Any) -> Any:
            request: Request = next(arg for arg in args if isinstance(arg, Request))
            [request.accepted_renderer] = with_panel([request.accepted_renderer])
            view = request.parser_context["view"]
            if isinstance(view, Accepting):
                return accept(view, request, args, kwargs)
            # What the mixins do around every answer.
            view.headers["Vary"] = ", ".join(VARY)
            try:
                return accept(_Host(view, handler), request, args, kwargs)
            except Error as error:
                if not is_outage(error) or job_of(request) is not None:
                    raise
                raise Unavailable.because(error) from error

        def accept(host: Any, request: Request, args: Any, kwargs: Any) -> Any:
            for name, value in options.items():
                setattr(host, f"accept_{name}", value)  # a view's instance serves one request
            host.adopt_form_key(request)
            work = partial(handler, *args, **kwargs)
            if task is None:
                return host.decide(request, partial(check, host, request), work)
            return host.decide(request, partial(ask, work))

        def check(host: Any, request: Request) -> tuple[Any, Any]:
            instance = host.get_accept_object()
            if serializer_class is None:
                return None, instance
            make = generic.serializer_maker(request.parser_context["view"], request, serializer_class)
            return generic.validated(make, request, instance), instance

        def ask(work: Callable[[], Any]) -> Any:
            outcome = work()
            if isinstance(outcome, HttpResponseBase):
                return outcome
            if not isinstance(outcome, Mapping):
                raise ImproperlyConfigured(
                    f"{handler.__qualname__} must return the keyword arguments of {task.name} or a Response."
                )
            return outcome, None

        # Where @api_view stands above, it takes these from here; OPTIONS tells the options.
        renderers = getattr(handler, "renderer_classes", APIView.renderer_classes)
        accepting.renderer_classes = with_panel(renderers)  # type: ignore[attr-defined]
        metadata = getattr(handler, "metadata_class", APIView.metadata_class)
        accepting.metadata_class = with_terms(metadata, partial(_Host, handler=handler), options)  # type: ignore[attr-defined]
        accepting.accept_options = options  # type: ignore[attr-defined]
        return cast(Handler, accepting)

    return decorate


def _whole(
    view: type[APIView], decorate: Callable[[Any], Any], options: Mapping[str, Any]
) -> Callable[..., Any]:
    """Return *view*, the class that ``@api_view`` made, accepting in all handlers, with the mixins' errors."""
    handlers = {name: decorate(getattr(view, name)) for name in map(str.lower, VERBS) if hasattr(view, name)}
    members = {"__module__": view.__module__, "__doc__": view.__doc__, "accept_operation": view.__name__}
    members |= {f"accept_{name}": value for name, value in options.items() if not callable(value)}
    whole: Any = type(view.__name__, (Accepting, view), members | handlers)
    return cast(Callable[..., Any], whole.as_view())


class _Host(Accepting):
    """Accepting for a view that has none of the mixins."""

    def __init__(self, view: Any, handler: Callable[..., Any]) -> None:
        self.view = view
        self.handler = handler

    def __getattr__(self, name: str) -> Any:
        return getattr(self.view, name)

    def get_accept_operation(self, request: Request) -> str:
        if self.accept_operation is None and type(self.view).__name__ == self.handler.__name__:
            return self.handler.__name__  # a function view: @api_view names its class after it
        return super().get_accept_operation(request)


def decorated(handler: Any) -> Any:
    """Return what ``@accepts`` made of a handler, else None; ``@api_view`` above it hides it in its own function."""
    if hasattr(handler, "accept_options"):
        return handler
    for cell in getattr(handler, "__closure__", None) or ():
        try:
            inner = cell.cell_contents
        except ValueError:  # an empty cell
            continue
        if inspect.isfunction(inner) and hasattr(inner, "accept_options"):
            return inner
    return None
